"""Names beside the points of a figure, placed so that none covers another, a point, or the figure's edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]  # left, bottom, right, top

RADII = (6.0, 10.0, 16.0, 24.0, 34.0, 46.0)
# Sides of a point, in the order in which they please: right, above and below it, left, then the diagonals.
SIDES = (
    (1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5),
)  # fmt: skip
CROSSING = 14.0  # what covering a line costs, in distance


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    lines: Sequence[Box] = (),
    reach: Sequence[float] = (),
    marker: float = 4.0,
) -> list[Box | None]:
    """Where each point's label goes, in the points' unit; None where there is no room for it.

    Labels are placed in the order given, each at the free place that is nearest to its point, and no farther from it
    than its `reach` (without these, than the last of RADII). No label covers
    another, comes nearer than `marker` to a point, or leaves `frame`; `lines` (thin boxes) are avoided if possible.
    """
    import numpy as np

    taken = [(x - marker, y - marker, x + marker, y + marker) for x, y in points]
    thin = np.array(lines, dtype=float).reshape(-1, 4)
    found: list[Box | None] = []
    for (x, y), (width, height), farthest in zip(points, sizes, reach or [RADII[-1]] * len(points), strict=True):
        tried = np.array([_beside(x, y, width, height, radius, side) for radius in RADII for side in SIDES])
        distance = np.repeat(RADII, len(SIDES)) + np.tile(np.arange(len(SIDES)) / 10, len(RADII))
        free = (tried[:, :2] >= frame[:2]).all(1) & (tried[:, 2:] <= frame[2:]).all(1)
        free &= np.repeat(RADII, len(SIDES)) <= farthest
        free &= ~_overlap(tried, np.array(taken)).any(1)
        if not free.any():
            found.append(None)
            continue
        cost = np.where(free, distance + CROSSING * _overlap(tried, thin).sum(1), np.inf)
        left, bottom, right, top = (float(edge) for edge in tried[int(cost.argmin())])
        found.append((left, bottom, right, top))
        taken.append((left, bottom, right, top))
    return found


def _beside(x: float, y: float, width: float, height: float, radius: float, side: tuple[float, float]) -> Box:
    """The label's box, whose nearest edge or corner lies `radius` from the point on that side."""
    across, up = side
    scale = radius / (across**2 + up**2) ** 0.5
    left = x + across * scale + (0 if across > 0 else -width if across < 0 else -width / 2)
    bottom = y + up * scale + (0 if up > 0 else -height if up < 0 else -height / 2)
    return left, bottom, left + width, bottom + height


def _overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each of `some` boxes (n, 4) overlaps each of the `others` (m, 4): (n, m)."""
    import numpy as np

    apart = (some[:, None, :2] >= others[None, :, 2:]) | (others[None, :, :2] >= some[:, None, 2:])
    together: np.ndarray = np.logical_not(apart.any(axis=2))
    return together
