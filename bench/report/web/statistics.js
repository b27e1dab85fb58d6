// What follows from the values: the Pareto front, the difference of two models.

const direction = (quantity) => (quantity.better === "higher" ? 1 : quantity.better === "lower" || quantity.cost ? -1 : 0);

// Of points with x and y: those that no other beats in one and equals in the other, by rising x.
function paretoFront(points, xSign, ySign) {
  if (!xSign || !ySign) return [];
  const ordered = [...points].sort((p, q) => xSign * (q.x - p.x) || ySign * (q.y - p.y));
  const front = [];
  let best = -Infinity;
  for (const point of ordered) {
    const before = front[front.length - 1];
    const same = before && before.x === point.x && before.y === point.y;
    if (ySign * point.y > best || same) front.push(point);
    best = Math.max(best, ySign * point.y);
  }
  return front.sort((p, q) => p.x - q.x);
}

// A − B as [mean, low, high], or [mean] where no interval is known, or null.
// Over the seeds that both have, paired (Student's t); else from the intervals of each, taken as independent.
function difference(a, b, index) {
  const [one, other] = [a.values[index], b.values[index]];
  if (!one || !other) return null;
  const pairs = a.by_seed.flatMap((row) => {
    const match = b.by_seed.find((found) => found.seed === row.seed);
    return match && row.values[index] !== null && match.values[index] !== null ? [row.values[index] - match.values[index]] : [];
  });
  if (pairs.length > 1) {
    const mean = pairs.reduce((sum, value) => sum + value, 0) / pairs.length;
    const variance = pairs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (pairs.length - 1);
    const half = DATA.student[pairs.length - 2] * Math.sqrt(variance / pairs.length);
    return [mean, mean - half, mean + half];
  }
  const mean = one[0] - other[0];
  if (one.length < 3 || other.length < 3) return [mean];
  return [
    mean,
    mean - Math.hypot(one[0] - one[1], other[2] - other[0]),
    mean + Math.hypot(one[2] - one[0], other[0] - other[1]),
  ];
}
