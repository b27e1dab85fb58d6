// One quantity against another, a point a model, the Pareto front drawn through those that none dominates.

const SHAPES = [
  "M0-5.5A5.5 5.5 0 1 1 0 5.5A5.5 5.5 0 1 1 0-5.5Z", // circle
  "M-5-5H5V5H-5Z", // square
  "M0-6.5L6 4.5H-6Z", // triangle
  "M0-6.5L6.5 0L0 6.5L-6.5 0Z", // diamond
  "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", // plus
];
const COLOURS = 6; // with five shapes, thirty families differ
const REACH = 28; // pixels from the pointer within which a point is meant
const ALL_NAMED = 14; // up to so many points carry their names; of more, only the front's
const NARROW = 500; // pixels
const ALL_BARRED = 40; // up to so many points carry their intervals; of more, the one that is looked at

const familyClass = (comparison, family) => `family${families(comparison).indexOf(family) % COLOURS}`;
const familyShape = (comparison, family) => SHAPES[families(comparison).indexOf(family) % SHAPES.length];
const familyMark = (comparison, family) =>
  s("svg", { class: `mark ${familyClass(comparison, family)}`, viewBox: "-8 -8 16 16", width: 14, height: 14, "aria-hidden": "true" },
    s("path", { d: familyShape(comparison, family) }));

// What disturbed one of the two measurements; nothing where neither was.
const doubted = (model, ...indices) => indices.map((index) => model.disturbed[QUANTITIES[index].key]).find(Boolean);

// How the chart is to be read: what is drawn of these models, and nothing else.
function scatterLegend(comparison, models) {
  const points = scatterPoints(comparison, models, quantityIndex(state.x), quantityIndex(state.y));
  const front = points.filter((point) => point.front);
  const barred = points.some((point) => point.xs.length > 1 || point.ys.length > 1);
  return [
    front.length > 1 && "Dashed line: through those of the models shown that are on the Pareto front of all.",
    front.length > 0 && "On the front is what no other model beats: beaten is what has no better number in either, and a worse one by more than chance.",
    points.length > 1 && !front.length && "There is no Pareto front: nothing is known of the differences.",
    barred && (points.length > ALL_BARRED ? "Bars: the 95 % interval of the model pointed at." : "Bars: 95 % intervals; an arrow where one goes on beyond the frame."),
    points.some((point) => point.doubt) && "Hollow: other processes were at work while it was measured, and no order is drawn from it.",
  ].filter(Boolean).join(" ");
}

function scatterPoints(comparison, models, xIndex, yIndex) {
  const on = frontOf(comparison, xIndex, yIndex);
  return models
    .filter((model) => model.values[xIndex] && model.values[yIndex])
    .map((model) => ({ model, xs: model.values[xIndex], ys: model.values[yIndex] }))
    .map((point) => ({ ...point, x: point.xs[0], y: point.ys[0], front: on.has(point.model), doubt: doubted(point.model, xIndex, yIndex) }));
}

// Names beside their points where there is room: the front's first. On a telephone many would hide the points.
function placeNames(points, x, y, area) {
  if (points.length > ALL_NAMED && area.right - area.left < NARROW) return [];
  // Where all cannot be named, the front's names may cover points that have none.
  const named = points.length <= ALL_NAMED ? points : points.filter((point) => point.front);
  const taken = named.map((p) => ({ left: x.at(p.x) - 7, right: x.at(p.x) + 7, top: y.at(p.y) - 7, bottom: y.at(p.y) + 7 }));
  const placed = [];
  for (const point of [...named].sort((p, q) => q.front - p.front || q.y - p.y)) {
    const name = point.model.short;
    const [px, py, width] = [x.at(point.x), y.at(point.y), 6.9 * name.length];
    const spots = [
      [px + 8, py - 20, "start"], [px + 10, py - 7, "start"], [px - 10 - width, py - 7, "end"], [px - 8 - width, py - 20, "end"],
      [px - width / 2, py - 24, "middle"], [px - width / 2, py + 10, "middle"],
    ];
    for (const [left, top, anchor] of spots) {
      const box = { left, right: left + width, top, bottom: top + 14 };
      const inside = box.left >= area.left && box.right <= area.right + 8 && box.top >= area.top - 8 && box.bottom <= area.bottom;
      const clear = taken.every((t) => box.right < t.left || box.left > t.right || box.bottom < t.top || box.top > t.bottom);
      if (!inside || !clear) continue;
      taken.push(box);
      const at = { start: left, end: left + width, middle: px }[anchor];
      placed.push(s("text", { class: point.front ? "name front" : "name", x: at, y: top + 11, "text-anchor": anchor }, name));
      break;
    }
  }
  return placed;
}

// An end that the axis has no place for, a logarithm none for zero or below, is an arrow at the frame.
function errorBars(point, x, y, area) {
  const bars = [];
  const [px, py] = [x.at(point.x), y.at(point.y)];
  const [, xLow, xHigh] = point.xs;
  const [, yLow, yHigh] = point.ys;
  if (xHigh !== undefined) {
    const off = x.logarithmic && xLow <= 0;
    const start = off ? area.left + 2 : x.at(xLow);
    bars.push(s("line", { x1: start, x2: x.at(xHigh), y1: py, y2: py }));
    if (off) bars.push(s("path", { class: "beyond", d: `M${start + 6} ${py - 4}L${start} ${py}L${start + 6} ${py + 4}` }));
  }
  if (yHigh !== undefined) bars.push(s("line", { x1: px, x2: px, y1: y.at(yLow), y2: y.at(yHigh) }));
  return bars;
}

// The front of the models shown as stairs: what lies on their bad side has a worse number in both.
function stairs(points, x, y, xSign, ySign) {
  const front = points.filter((point) => point.front).sort((p, q) => p.x - q.x || ySign * (p.y - q.y));
  if (!front.length) return null;
  if (xSign > 0) front.reverse();
  let best = front[0].y;
  const corners = front.flatMap((point, at) => {
    const before = best;
    if (ySign * point.y > ySign * best) best = point.y;
    const [here, height] = [x.at(point.x), y.at(best)];
    return at === 0 ? [`${here} ${height}`] : [`${here} ${y.at(before)}`, `${here} ${height}`];
  });
  return s("path", { class: "stairs", d: `M${corners.join("L")}` });
}

const axisName = (quantity) => `${quantity.label}, ${direction(quantity) > 0 ? "higher" : "lower"} is better`;

// models() are those to draw; the axes are those of the state.
function scatter(comparison, models) {
  const tip = h("div", { class: "tip", "aria-hidden": "true" });

  return chart("scatter", (width) => {
    const [xIndex, yIndex] = [quantityIndex(state.x), quantityIndex(state.y)];
    const [xQuantity, yQuantity] = [QUANTITIES[xIndex], QUANTITIES[yIndex]];
    const points = scatterPoints(comparison, models(), xIndex, yIndex);
    if (!points.length) return [h("p", { class: "empty" }, `No model shown here has both ${xQuantity.label} and ${yQuantity.label}.`)];

    const height = width < 560 ? 340 : 430;
    const area = { left: 52, right: width - 14, top: 30, bottom: height - 48 };
    const log = state.scale === "log";
    const barred = points.length <= ALL_BARRED;
    // The axes hold the intervals too where these are drawn; a logarithm has no place for an end at or below zero.
    const reach = (key) => points.flatMap((point) => (barred ? point[key] : [point[key][0]]));
    const across = reach("xs").filter((value) => !log || value > 0 || points.some((point) => point.x <= 0));
    const x = makeScale(across, area.left, area.right, { log, wanted: width < 560 ? 4 : 8 });
    const y = makeScale(reach("ys"), area.bottom, area.top);

    const show = (point) => {
      const lines = [
        h("strong", null, point.model.name),
        h("span", null, point.model.family),
        h("span", null, `${yQuantity.label}: ${valueText(point.ys, yQuantity)}`),
        h("span", null, `${xQuantity.label}: ${valueText(point.xs, xQuantity)}`),
        point.front && h("span", null, "on the Pareto front"),
        point.doubt && h("span", null, `† ${point.doubt}`),
      ];
      tip.replaceChildren(...lines.filter(Boolean));
      tip.classList.add("open");
      const [px, py] = [x.at(point.x), y.at(point.y)];
      tip.style.left = `${Math.max(0, Math.min(px + 14, width - tip.offsetWidth))}px`;
      tip.style.top = `${py + 14 + tip.offsetHeight > height ? py - 14 - tip.offsetHeight : py + 14}px`;
      links.forEach((link) => link.classList.toggle("active", link === point.link));
    };
    const hide = () => {
      tip.classList.remove("open");
      links.forEach((link) => link.classList.remove("active"));
    };

    // One stop of the Tab key; from there the arrow keys go from point to point.
    points.sort((p, q) => p.x - q.x || p.y - q.y);
    const links = points.map((point, at) => {
      const words = [`${yQuantity.label} ${valueText(point.ys, yQuantity)}`, `${xQuantity.label} ${valueText(point.xs, xQuantity)}`];
      point.link = s(
        "a",
        {
          class: `point ${familyClass(comparison, point.model.family)}${point.front ? " front" : ""}${point.doubt ? " doubt" : ""}${barred ? " barred" : ""}`,
          href: address({ view: "model", m: point.model.name }),
          tabindex: at === 0 ? 0 : -1,
          "aria-label": [point.model.name, ...words, ...(point.front ? ["on the Pareto front"] : []), ...(point.doubt ? ["disturbed"] : [])].join(", "),
          onfocus: () => show(point),
          onblur: hide,
          onkeydown: (event) => {
            const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
            const next = points[(at + step + points.length) % points.length];
            if (!step) return;
            event.preventDefault();
            point.link.setAttribute("tabindex", -1);
            next.link.setAttribute("tabindex", 0);
            next.link.focus();
          },
        },
        s("g", { class: "bars" }, errorBars(point, x, y, area)),
        s("path", { d: familyShape(comparison, point.model.family), transform: `translate(${x.at(point.x)} ${y.at(point.y)})` }),
      );
      return point.link;
    });

    const nearest = (event) => {
      const box = plot.getBoundingClientRect();
      const away = (point) => Math.hypot(x.at(point.x) - event.clientX + box.left, y.at(point.y) - event.clientY + box.top);
      const closest = points.reduce((one, other) => (away(other) < away(one) ? other : one));
      return away(closest) <= REACH ? closest : null;
    };
    const plot = s(
      "svg",
      {
        width,
        height,
        role: "group",
        "aria-label": `${yQuantity.label} against ${xQuantity.label}, ${count(points.length, "model")}; arrow keys go from one to the next`,
        onpointermove: (event) => {
          const point = nearest(event);
          plot.classList.toggle("over", Boolean(point));
          if (point) show(point);
          else hide();
        },
        onpointerleave: hide,
        onclick: (event) => {
          const point = event.detail ? nearest(event) : null; // the keyboard follows the link itself
          if (!point) return;
          event.preventDefault();
          location.hash = address({ view: "model", m: point.model.name });
        },
      },
      drawAxes(x, y, area, axisName(xQuantity), axisName(yQuantity)),
      stairs(points, x, y, direction(xQuantity), direction(yQuantity)),
      [...links].sort((one, other) => one.classList.contains("front") - other.classList.contains("front")), // the front on top
      s("g", { class: "names", "aria-hidden": "true" }, placeNames(points, x, y, area)),
    );
    return [plot, tip];
  });
}
