"""Names beside the points of a figure, placed so that none covers another, a point, or the figure's edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]  # left, bottom, right, top

Segment = tuple[tuple[float, float], tuple[float, float]]

RADII = (6.0, 10.0, 16.0, 24.0, 34.0, 46.0, 60.0)
# Sides of a point, in the order in which they please: right, above and below it, left, then the diagonals.
SIDES = (
    (1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5),
)  # fmt: skip
NEAR = 60.0  # the farthest from its point that one label of MANY may stand which is not important
MANY = 15
LATTICE = 6.0  # between the places that are tried all over the frame
COVERING = 1000.0  # what covering a point costs, in distance
LEADING = 3.0  # between the places of a label's leader at which it may meet other labels


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
    another, or one of the `lines` (thin boxes), comes nearer than `marker` to a point, or leaves `frame`; nor does
    the way to its point lead through another where there is a choice. The first `important` labels may stand
    anywhere, as all of a few may, and cover points rather than be left out.
    """
    import numpy as np

    markers = np.array([(x - marker, y - marker, x + marker, y + marker) for x, y in points])
    taken = np.array(lines, dtype=float).reshape(-1, 4)
    names = np.empty((0, 4))
    found: list[Box | None] = []
    for number, ((x, y), (width, height)) in enumerate(zip(points, sizes, strict=True)):
        tried = np.array([_beside(x, y, width, height, radius, side) for radius in RADII for side in SIDES])
        far = number < important or len(points) < MANY
        if far:
            tried = np.concatenate([tried, _lattice(frame, width, height)])
        distance = _distance(tried, x, y) + np.arange(len(tried)) % len(SIDES) / 10
        free = (tried[:, :2] >= frame[:2]).all(1) & (tried[:, 2:] <= frame[2:]).all(1)
        free &= ~_overlap(tried, taken).any(1)
        covered = _overlap(tried, markers).sum(1)
        if number >= important:
            free &= covered == 0
        if not far:
            free &= distance < NEAR
        cost = np.where(free, distance + COVERING * covered, np.inf)
        order = np.argsort(cost, kind="stable")[: int(np.count_nonzero(free))].tolist()
        if not order:
            found.append(None)
            continue
        chosen = next((at for at in order if not _overlap(_way(tried[at], x, y), names).any()), order[0])
        left, bottom, right, top = (float(edge) for edge in tried[chosen])
        found.append((left, bottom, right, top))
        names = np.concatenate([names, tried[[chosen]]])
        taken = np.concatenate([taken, tried[[chosen]], _way(tried[chosen], x, y)])
    return found


def _lattice(frame: Box, width: float, height: float) -> np.ndarray:
    """Boxes of that size all over the frame."""
    import numpy as np

    columns, rows = np.arange(frame[0], frame[2] - width, LATTICE), np.arange(frame[1], frame[3] - height, LATTICE)
    corners = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    return np.concatenate([corners, corners + np.array([width, height])], axis=1)


def _distance(boxes: np.ndarray, x: float, y: float) -> np.ndarray:
    """Of each box (n, 4) from the point."""
    import numpy as np

    across = np.maximum(0, np.maximum(boxes[:, 0] - x, x - boxes[:, 2]))
    up = np.maximum(0, np.maximum(boxes[:, 1] - y, y - boxes[:, 3]))
    distance: np.ndarray = np.hypot(across, up)
    return distance


def _way(box: np.ndarray, x: float, y: float) -> np.ndarray:
    """Small boxes along the line from the point to the nearest place of its label, both ends left out."""
    import numpy as np

    end = np.clip((x, y), box[:2], box[2:])
    count = int(np.hypot(*(end - (x, y))) / LEADING)
    parts = (np.arange(1, count)[:, None] / max(1, count)) * (end - (x, y)) + (x, y)
    return np.concatenate([parts - 0.5, parts + 0.5], axis=1)


def _beside(x: float, y: float, width: float, height: float, radius: float, side: tuple[float, float]) -> Box:
    """The label's box, whose nearest edge or corner lies `radius` from the point on that side."""
    across, up = side
    scale = radius / (across**2 + up**2) ** 0.5
    left = x + across * scale + (0 if across > 0 else -width if across < 0 else -width / 2)
    bottom = y + up * scale + (0 if up > 0 else -height if up < 0 else -height / 2)
    return left, bottom, left + width, bottom + height


def _overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each of `some` boxes (n, 4) overlaps each of the `others` (m, 4): (n, m)."""

    left, bottom, right, top = some.T[:, :, None]
    lefts, bottoms, rights, tops = others.T
    together: np.ndarray = (left < rights) & (lefts < right) & (bottom < tops) & (bottoms < top)
    return together
