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
NEAR = 24.0  # the farthest from its point that a label may stand which is not important
# What covering a line, or a point, costs in distance.
CROSSING, COVERING = 14.0, 1000.0


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    lines: Sequence[Box] = (),
    important: int = 0,
    marker: float = 4.0,
) -> list[Box | None]:
    """Where each point's label goes, in the points' unit; None where there is no room for it.

    Labels are placed in the order given, each at the free place that is nearest to its point. No label covers
    another, comes nearer than `marker` to a point, or leaves `frame`; `lines` (thin boxes) are avoided if possible.
    The first `important` labels may stand farther from their points, and cover points rather than be left out.
    """
    import numpy as np

    markers = np.array([(x - marker, y - marker, x + marker, y + marker) for x, y in points])
    names = np.empty((0, 4))
    thin = np.array(lines, dtype=float).reshape(-1, 4)
    distance = np.repeat(RADII, len(SIDES)) + np.tile(np.arange(len(SIDES)) / 10, len(RADII))
    found: list[Box | None] = []
    for number, ((x, y), (width, height)) in enumerate(zip(points, sizes, strict=True)):
        tried = np.array([_beside(x, y, width, height, radius, side) for radius in RADII for side in SIDES])
        free = (tried[:, :2] >= frame[:2]).all(1) & (tried[:, 2:] <= frame[2:]).all(1)
        free &= ~_overlap(tried, names).any(1)
        covered = _overlap(tried, markers).sum(1)
        if number >= important:
            free &= (covered == 0) & (distance < NEAR + 2)
        if not free.any():
            found.append(None)
            continue
        cost = np.where(free, distance + CROSSING * _overlap(tried, thin).sum(1) + COVERING * covered, np.inf)
        left, bottom, right, top = (float(edge) for edge in tried[int(cost.argmin())])
        found.append((left, bottom, right, top))
        names = np.append(names, [found[-1]], axis=0)
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
