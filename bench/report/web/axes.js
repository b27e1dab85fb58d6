// Scales and axes of the charts: values to pixels, ticks at round numbers, redrawn when the width changes.

const tickText = (value) =>
  value
    .toLocaleString("en", { maximumSignificantDigits: 4, notation: Math.abs(value) >= 1e5 ? "compact" : "standard" })
    .replace("-", "−");

function linearTicks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high; at += 1) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high, wanted) {
  const powers = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) powers.push(power);
  const within = (factors) =>
    powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`))).filter((tick) => tick >= low && tick <= high);
  const found = [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]].map(within).find((ticks) => ticks.length <= wanted) || within([1]);
  return found.length > 1 ? found : linearTicks(low, high, wanted);
}

// A scale from values to the pixels from…to, with room at both ends; `log` only where all values allow it.
function makeScale(values, from, to, { log = false, wanted = 6, room = 0.06 } = {}) {
  const lowest = values.reduce((one, other) => Math.min(one, other), Infinity);
  const highest = values.reduce((one, other) => Math.max(one, other), -Infinity);
  const logarithmic = log && lowest > 0;
  const into = logarithmic ? Math.log : (value) => value;
  const back = logarithmic ? Math.exp : (value) => value;
  const width = into(highest) - into(lowest) || (logarithmic ? 1 : Math.abs(highest) || 1);
  const low = into(lowest) - room * width;
  const high = into(highest) + room * width;
  const at = (value) => from + ((into(value) - low) / (high - low)) * (to - from);
  const tick = logarithmic ? logTicks : linearTicks;
  // Two ticks leave a reader to guess: three at least.
  const ticks = [wanted, 2 * wanted].map((number) => tick(back(low), back(high), number)).find((found) => found.length > 2) || tick(back(low), back(high), wanted);
  return { at, ticks, logarithmic };
}

// Grid lines, tick labels and the names of both axes.
function drawAxes(x, y, area, xLabel, yLabel) {
  const grid = s("g", { class: "grid" });
  const labels = s("g", { class: "ticks" });
  for (const tick of y.ticks) {
    grid.append(s("line", { x1: area.left, x2: area.right, y1: y.at(tick), y2: y.at(tick) }));
    labels.append(s("text", { x: area.left - 8, y: y.at(tick), dy: "0.32em", "text-anchor": "end" }, tickText(tick)));
  }
  for (const tick of x.ticks) {
    grid.append(s("line", { x1: x.at(tick), x2: x.at(tick), y1: area.top, y2: area.bottom }));
    labels.append(s("text", { x: x.at(tick), y: area.bottom + 18, "text-anchor": "middle" }, tickText(tick)));
  }
  return [
    grid,
    labels,
    s("text", { class: "axis", x: area.right, y: area.bottom + 38, "text-anchor": "end" }, xLabel),
    s("text", { class: "axis", x: 0, y: 12 }, yLabel),
  ];
}

// A box whose content draw(width) makes, again whenever its width changes.
function chart(name, draw) {
  const box = h("div", { class: `chart ${name}` });
  let drawn = 0;
  const redraw = () => {
    drawn = box.clientWidth;
    if (drawn) box.replaceChildren(...draw(drawn));
  };
  new ResizeObserver(() => box.clientWidth !== drawn && redraw()).observe(box);
  return { box, redraw };
}
