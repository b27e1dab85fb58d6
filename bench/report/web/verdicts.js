// What was decided when the page was made: the verdict on each two models, and who is on which front.

const direction = (quantity) => (quantity.better === "higher" ? 1 : quantity.better === "lower" || quantity.cost ? -1 : 0);

const TURNED = { better: "worse", worse: "better", tie: "tie", unknown: "unknown" };
const BEST_ALONE = { outcome: "unknown", evidence: "of so many models each was compared with the best alone" };

// Where a verdict stands (see bench/report/page/verdicts.py): of model a against b, or turned round; a, b are places.
function verdictCell({ against, cells, all }, a, b, count) {
  const turned = against === null ? a > b : against === b;
  if (against !== null && against !== a && against !== b) return {};
  if (all !== undefined) return { cell: all, turned };
  const [first, second] = turned ? [b, a] : [a, b];
  return { cell: cells[against === null ? (first * (2 * count - first - 1)) / 2 + second - first - 1 : second], turned };
}

// Of model A against B: {outcome, evidence}, and {low, high} where there is an interval; null where none was made.
function verdictOf(comparison, a, b, index) {
  const { words, by_quantity } = comparison.verdicts;
  const quantity = QUANTITIES[index];
  if (!by_quantity[quantity.key]) return null;
  const [first, second] = [a, b].map((model) => comparison.models.indexOf(model));
  const { cell, turned } = verdictCell(by_quantity[quantity.key], first, second, comparison.models.filter(finished).length);
  if (cell === undefined) return BEST_ALONE;
  const [number, , low, high] = [cell].flat();
  const [outcome, evidence] = words[number];
  if (!turned) return { outcome, evidence, low, high };
  const turn = quantity.ratio ? (end) => 1 / end : (end) => 0 - end;
  return { outcome: TURNED[outcome], evidence, ...(low === undefined ? {} : { low: turn(high), high: turn(low) }) };
}

// The models that no other beats on these two quantities; none where nothing is known of their differences.
function frontOf(comparison, xIndex, yIndex) {
  const places = comparison.fronts[[xIndex, yIndex].sort((p, q) => p - q).join()] || [];
  return new Set(places.map((place) => comparison.models[place]));
}
