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
const AWAY = [6, 20, 34, 48]; // pixels from a point to its name
const LEADER = 16; // pixels; to a name that is farther away leads a line
const ALL_BARRED = 40; // up to so many points carry their intervals; of more, the one that is looked at

const familyClass = (comparison, family) => `family${families(comparison).indexOf(family) % COLOURS}`;
const familyShape = (comparison, family) => SHAPES[families(comparison).indexOf(family) % SHAPES.length];
const familyMark = (comparison, family) =>
  s("svg", { class: `mark ${familyClass(comparison, family)}`, viewBox: "-8 -8 16 16", width: 14, height: 14, "aria-hidden": "true" },
    s("path", { d: familyShape(comparison, family) }));

function scatterPoints(comparison, models, xIndex, yIndex) {
  const on = frontOf(comparison, xIndex, yIndex);
  const [xKey, yKey] = [QUANTITIES[xIndex].key, QUANTITIES[yIndex].key];
  return models
    .filter((model) => model.values[xIndex] && model.values[yIndex])
    .map((model) => ({ model, xs: model.values[xIndex], ys: model.values[yIndex] }))
    .map((point) => ({
      ...point,
      x: point.xs[0],
      y: point.ys[0],
      front: on.has(point.model),
      disturbed: Boolean(point.model.disturbed[xKey] || point.model.disturbed[yKey]),
    }));
}

const pointName = ({ model, disturbed }) => `${model.short || model.name}${disturbed ? " †" : ""}`;

// Names beside their points where there is room, the front's first: none over another, a point, or one of the lines
// ({left, right, top, bottom}). On a telephone many would hide the points.
function placeNames(points, x, y, area, lines) {
  if (points.length > ALL_NAMED && area.right - area.left < NARROW) return [];
  // Where all cannot be named, the front's names may cover points that have none.
  const named = points.length <= ALL_NAMED ? points : points.filter((point) => point.front);
  const taken = named.map((p) => ({ left: x.at(p.x) - 7, right: x.at(p.x) + 7, top: y.at(p.y) - 7, bottom: y.at(p.y) + 7 }));
  taken.push(...lines);
  const placed = [];
  for (const point of [...named].sort((p, q) => q.front - p.front || q.y - p.y)) {
    const name = pointName(point);
    const [px, py, width] = [x.at(point.x), y.at(point.y), 6.9 * name.length];
    const spots = AWAY.flatMap((by) => [
      [px + 8, py - 14 - by, "start"], [px + 10, py - 7, "start"], [px - 10 - width, py - 7, "end"], [px - 8 - width, py - 14 - by, "end"],
      [px + 8, py + by, "start"], [px - 8 - width, py + by, "end"], [px - width / 2, py - 18 - by, "middle"], [px - width / 2, py + 4 + by, "middle"],
    ]);
    for (const [left, top, anchor] of spots) {
      const box = { left, right: left + width, top, bottom: top + 14 };
      const inside = box.left >= area.left && box.right <= area.right + 8 && box.top >= area.top - 8 && box.bottom <= area.bottom;
      const clear = taken.every((t) => box.right < t.left || box.left > t.right || box.bottom < t.top || box.top > t.bottom);
      if (!inside || !clear) continue;
      taken.push(box);
      const at = { start: left, end: left + width, middle: px }[anchor];
      const far = top > py + LEADER || top + 14 < py - LEADER;
      if (far) placed.push(s("line", { class: "leader", x1: px, y1: py, x2: Math.min(left + width, Math.max(left, px)), y2: top > py ? top : top + 14 }));
      placed.push(s("text", { class: point.front ? "name front" : "name", x: at, y: top + 11, "text-anchor": anchor }, name));
      break;
    }
  }
  return placed;
}

// A point's intervals as lines within the frame; `leaves` are the sides on which they go on.
function intervals(point, x, y, area) {
  const [px, py] = [x.at(point.x), y.at(point.y)];
  const end = (scale, value) => (scale.logarithmic && value <= 0 ? -Infinity : scale.at(value));
  const within = (low, high, from, to) => [Math.max(low, from), Math.min(high, to)];
  const found = [];
  const wide = ([, low, high]) => high !== undefined && high > low;
  if (wide(point.xs)) {
    const [low, high] = point.xs.slice(1).map((value) => end(x, value));
    const [x1, x2] = within(low, high, area.left, area.right);
    found.push({ x1, x2, y1: py, y2: py, leaves: [low < area.left && [x1, py, 180], high > area.right && [x2, py, 0]] });
  }
  if (wide(point.ys)) {
    const [bottom, top] = point.ys.slice(1).map((value) => end(y, value));
    const low = bottom === -Infinity ? Infinity : bottom; // pixels grow downwards
    const [y1, y2] = within(top, low, area.top, area.bottom);
    found.push({ x1: px, x2: px, y1, y2, leaves: [top < area.top && [px, y1, -90], low > area.bottom && [px, y2, 90]] });
  }
  return found.map((bar) => ({ ...bar, leaves: bar.leaves.filter(Boolean) }));
}

const errorBars = (bars) =>
  bars.flatMap(({ x1, x2, y1, y2, leaves }) => [
    s("line", { x1, x2, y1, y2 }),
    leaves.map(([px, py, turn]) => s("path", { class: "leaves", d: "M0 0L-7-4V4Z", transform: `translate(${px} ${py}) rotate(${turn})` })),
  ]);

// From each base that is drawn to what extends it, a line with a head; both end short of the points.
function moves(points, x, y) {
  const at = new Map(points.map((point) => [point.model.name, point]));
  return points.filter((point) => at.has(point.model.base)).flatMap((point) => {
    const from = at.get(point.model.base);
    const [x1, y1, x2, y2] = [x.at(from.x), y.at(from.y), x.at(point.x), y.at(point.y)];
    const length = Math.hypot(x2 - x1, y2 - y1);
    if (length < 20) return [];
    const [dx, dy] = [(8 * (x2 - x1)) / length, (8 * (y2 - y1)) / length];
    const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
    return [
      s("line", { x1: x1 + dx, y1: y1 + dy, x2: x2 - dx, y2: y2 - dy }),
      s("path", { d: "M0 0L-7-3V3Z", transform: `translate(${x2 - dx} ${y2 - dy}) rotate(${turn})` }),
    ];
  });
}

// The corners of the front of all models, and on to the frame's edge: what lies on its bad side has a worse number in both.
function stairs(front, x, y, area, xSign, ySign) {
  const points = [...front].sort((p, q) => p.x - q.x || ySign * (p.y - q.y));
  if (!points.length) return [];
  if (xSign > 0) points.reverse();
  let best = points[0].y;
  const corners = points.flatMap((point, at) => {
    const before = best;
    if (ySign * point.y > ySign * best) best = point.y;
    const here = x.logarithmic && point.x <= 0 ? area.left : x.at(point.x);
    return at === 0 ? [[here, y.at(best)]] : [[here, y.at(before)], [here, y.at(best)]];
  });
  return [...corners, [xSign > 0 ? Math.min(area.left, corners.at(-1)[0]) : Math.max(area.right, corners.at(-1)[0]), y.at(best)]];
}

// The boxes of the line's pieces that lie in the frame.
const pieces = (corners, area) =>
  corners.slice(1).flatMap(([px, py], at) => {
    const [ox, oy] = corners[at];
    const box = { left: Math.min(px, ox) - 1, right: Math.max(px, ox) + 1, top: Math.min(py, oy) - 1, bottom: Math.max(py, oy) + 1 };
    return box.right < area.left || box.left > area.right || box.bottom < area.top || box.top > area.bottom ? [] : [box];
  });

// What is drawn, in words, and nothing else.
function scatterWords(comparison, points, front, { barred, lineSeen, leaving, moving, xQuantity, yQuantity }) {
  const on = points.filter((point) => point.front).length;
  const only = on < front.length ? `, of which ${on} of ${front.length} ${front.length === 1 ? "model is" : "models are"} shown` : "";
  const bars = [[yQuantity, "ys"], [xQuantity, "xs"]]
    .filter(([, key]) => points.some((point) => point[key].length > 1))
    .map(([quantity]) => [quantity.label, comparison.bars[quantity.key]])
    .filter(([, words]) => words);
  const same = bars.length > 1 && bars[0][1] === bars[1][1];
  return [
    !front.length && "No Pareto front: nothing is known of the differences.",
    front.length > 0 &&
      `${lineSeen ? "Dashed line" : "Outside this frame"}: the Pareto front of all models${only}: those that no other beats; beaten is what has no better number in either, and a worse one by more than chance.`,
    front.length > 0 && points.some((point) => !point.front && !point.disturbed) && "Pale: not on it.",
    moving && "Thin arrow: from a base to the same model extended.",
    points.some((point) => point.disturbed) && "Hollow, †: the machine disturbed a measurement; on no front.",
    bars.length > 0 && `Bars${barred ? "" : ", of the point that is looked at"}: ${same ? bars[0][1] : bars.map(([label, words]) => `${label}: ${words}`).join("; ")}.`,
    leaving && "Arrow: the interval goes on beyond the frame.",
  ].filter(Boolean).join(" ");
}

const axisName = (quantity) => `${quantity.label}, ${direction(quantity) > 0 ? "higher" : "lower"} is better`;

// models() are those to draw; the axes are those of the state. `words` say what is drawn.
function scatter(comparison, models) {
  const words = h("p", { class: "legend" });
  const tip = h("div", { class: "tip", "aria-hidden": "true" });

  const drawing = chart("scatter", (width) => {
    const [xIndex, yIndex] = [quantityIndex(state.x), quantityIndex(state.y)];
    const [xQuantity, yQuantity] = [QUANTITIES[xIndex], QUANTITIES[yIndex]];
    const points = scatterPoints(comparison, models(), xIndex, yIndex);
    words.textContent = "";
    if (!points.length) return [h("p", { class: "empty" }, `No model shown here has both ${xQuantity.label} and ${yQuantity.label}.`)];

    const height = width < 560 ? 340 : 430;
    const area = { left: 52, right: width - 14, top: 30, bottom: height - 48 };
    const log = state.scale === "log" && points.every((point) => point.x > 0);
    const barred = points.length <= ALL_BARRED;
    // The axes hold the intervals too where these are drawn.
    const held = (key) => points.map((point) => (barred ? point[key] : [point[key][0]]));
    const x = makeScale(reach(held("xs"), log), area.left, area.right, { log, wanted: width < 560 ? 4 : 8 });
    const y = makeScale(reach(held("ys")), area.bottom, area.top);
    for (const point of points) point.bars = intervals(point, x, y, area);
    // Of all models, whichever are shown.
    const front = scatterPoints(comparison, comparison.models, xIndex, yIndex).filter((point) => point.front);
    const line = stairs(front, x, y, area, direction(xQuantity), direction(yQuantity));
    const seen = pieces(line, area);
    const arrows = moves(points, x, y);
    const bars = barred ? points.flatMap((point) => point.bars) : [];
    const obstacles = bars.map(({ x1, x2, y1, y2 }) => ({ left: x1 - 1, right: x2 + 1, top: y1 - 1, bottom: y2 + 1 }));
    words.textContent = scatterWords(comparison, points, front, {
      barred, xQuantity, yQuantity, lineSeen: seen.length > 0, leaving: bars.some((bar) => bar.leaves.length), moving: arrows.length > 0,
    });

    const show = (point) => {
      const lines = [
        h("strong", null, breaking(point.model.name)),
        h("span", null, point.model.family),
        h("span", null, `${yQuantity.label}: ${valueText(point.ys, yQuantity)}`),
        h("span", null, `${xQuantity.label}: ${valueText(point.xs, xQuantity)}`),
        point.front && h("span", null, "on the Pareto front"),
        point.disturbed && h("span", null, "† disturbed: on no front"),
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
          class: `point ${familyClass(comparison, point.model.family)}${point.front ? " front" : ""}${point.disturbed ? " disturbed" : ""}${barred ? " barred" : ""}`,
          href: address({ view: "model", m: point.model.name }),
          tabindex: at === 0 ? 0 : -1,
          "aria-label": [point.model.name, ...words, ...(point.front ? ["on the Pareto front"] : []), ...(point.disturbed ? ["disturbed"] : [])].join(", "),
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
        s("g", { class: "bars" }, errorBars(point.bars)),
        s("path", { class: "shape", d: familyShape(comparison, point.model.family), transform: `translate(${x.at(point.x)} ${y.at(point.y)})` }),
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
      s("clipPath", { id: "frame" }, s("rect", { x: area.left, y: area.top, width: area.right - area.left, height: area.bottom - area.top })),
      seen.length > 0 && s("path", { class: "stairs", "clip-path": "url(#frame)", d: `M${line.map((corner) => corner.join(" ")).join("L")}` }),
      arrows.length > 0 && s("g", { class: "moves", "aria-hidden": "true" }, arrows),
      [...links].sort((one, other) => one.classList.contains("front") - other.classList.contains("front")), // the front on top
      s("g", { class: "names", "aria-hidden": "true" }, placeNames(points, x, y, area, [...obstacles, ...seen])),
    );
    return [plot, tip];
  });
  return { ...drawing, words };
}
