// Learning curves: loss and top-1 by epoch, of one model or of two over each other.

const MEASURES = [
  { name: "Loss", unit: "", keys: ["train_loss", "val_loss"], factor: 1, decimals: 3 },
  { name: "Top-1 (%)", unit: " %", keys: ["train_top1", "val_top1"], factor: 100, decimals: 1 },
];

// By epoch: the mean over the trials that have it, the lowest and the highest.
function overSeeds(curves, key, factor) {
  const byEpoch = new Map();
  for (const curve of curves) {
    curve.epochs.forEach((epoch, at) => {
      const value = curve[key][at];
      if (value !== null) byEpoch.set(epoch, [...(byEpoch.get(epoch) || []), factor * value]);
    });
  }
  return [...byEpoch]
    .sort(([one], [other]) => one - other)
    .map(([epoch, values]) => ({
      epoch,
      mean: values.reduce((sum, value) => sum + value, 0) / values.length,
      low: Math.min(...values),
      high: Math.max(...values),
    }));
}

// The validation's value at each trial's best epoch.
const bestEpochs = (curves, key, factor) =>
  curves.flatMap((curve) => {
    const value = curve[key][curve.epochs.indexOf(curve.best)];
    return value === undefined || value === null ? [] : [{ epoch: curve.best, value: factor * value }];
  });

function curveSeries(models, measure) {
  return models.flatMap((model, number) =>
    measure.keys.map((key) => {
      const validation = key.startsWith("val");
      return {
        label: `${models.length > 1 ? `${"AB"[number]} ` : ""}${validation ? "validation" : "training"}`,
        style: `${models.length > 1 ? "model" + "AB"[number] : "alone"} ${validation ? "validation" : "training"}`,
        points: overSeeds(model.detail.curves, key, measure.factor),
        several: model.detail.curves.length > 1,
        best: validation ? bestEpochs(model.detail.curves, key, measure.factor) : [],
      };
    }),
  ).filter((series) => series.points.length);
}

function curveChart(models, measure) {
  const series = curveSeries(models, measure);
  if (!series.length) return null;
  const epochs = [...new Set(series.flatMap((one) => one.points.map((point) => point.epoch)))].sort((p, q) => p - q);
  const readout = h("p", { class: "readout", "aria-hidden": "true" });
  const best = series.flatMap((one) => one.best.map((point) => point.epoch))[0];
  let chosen = epochs.includes(best) ? best : epochs[epochs.length - 1];

  const text = (epoch) => {
    const parts = series.flatMap((one) => {
      const point = one.points.find((found) => found.epoch === epoch);
      return point ? [`${one.label} ${grouped(point.mean, measure.decimals)}${measure.unit}`] : [];
    });
    return `epoch ${epoch}: ${parts.join(", ")}`;
  };

  const { box } = chart("curve", (width) => {
    const height = 260;
    const area = { left: 46, right: width - 12, top: 30, bottom: height - 46 };
    const x = makeScale(epochs, area.left, area.right, { room: 0.03, wanted: width < 400 ? 5 : 8 });
    x.ticks = x.ticks.filter((tick) => Number.isInteger(tick) && tick >= epochs[0]);
    const values = series.flatMap((one) => one.points.flatMap((point) => [point.low, point.high]));
    const y = makeScale(values, area.bottom, area.top, { wanted: 5 });
    const line = (points, key) => points.map((point) => `${x.at(point.epoch).toFixed(1)} ${y.at(point[key]).toFixed(1)}`);
    const cursor = s("line", { class: "cursor", y1: area.top, y2: area.bottom, visibility: "hidden" });

    const choose = (epoch) => {
      chosen = epoch;
      cursor.setAttribute("x1", x.at(epoch));
      cursor.setAttribute("x2", x.at(epoch));
      cursor.setAttribute("visibility", "visible");
      readout.textContent = text(epoch);
      plot.setAttribute("aria-valuenow", epoch);
      plot.setAttribute("aria-valuetext", text(epoch));
    };
    const step = (by) => {
      const at = epochs.indexOf(chosen) + by;
      choose(epochs[Math.max(0, Math.min(epochs.length - 1, at))]);
    };
    const plot = s(
      "svg",
      {
        width,
        height,
        role: "slider",
        tabindex: 0,
        "aria-label": `${measure.name} by epoch`,
        "aria-valuemin": epochs[0],
        "aria-valuemax": epochs[epochs.length - 1],
        "aria-valuenow": chosen,
        "aria-valuetext": text(chosen),
        onpointermove: (event) => {
          const at = event.clientX - plot.getBoundingClientRect().left;
          choose(epochs.reduce((one, other) => (Math.abs(x.at(other) - at) < Math.abs(x.at(one) - at) ? other : one)));
        },
        onkeydown: (event) => {
          const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -epochs.length, End: epochs.length }[event.key];
          if (!by) return;
          event.preventDefault();
          step(by);
        },
      },
      drawAxes(x, y, area, "epoch", measure.name),
      series.filter((one) => one.several).map((one) =>
        s("path", { class: `band ${one.style}`, d: `M${[...line(one.points, "high"), ...line(one.points, "low").reverse()].join("L")}Z` })),
      series.map((one) => s("path", { class: `line ${one.style}`, d: `M${line(one.points, "mean").join("L")}` })),
      series.flatMap((one) =>
        one.best.map((point) => s("circle", { class: `best ${one.style}`, cx: x.at(point.epoch), cy: y.at(point.value), r: 4.5 }))),
      cursor,
    );
    readout.textContent = text(chosen);
    return [plot];
  });
  return h("div", null, box, readout);
}

function curvesSection(models) {
  const drawable = models.filter((model) => model.detail && model.detail.curves.length);
  if (drawable.length < models.length || !drawable.length) return null;
  const charts = MEASURES.map((measure) => curveChart(models, measure)).filter(Boolean);
  if (!charts.length) return null;
  const sample = (style) =>
    s("svg", { class: "sample", width: 26, height: 10, "aria-hidden": "true" }, s("path", { class: `line ${style}`, d: "M1 5H25" }));
  const styles = models.flatMap((model, at) =>
    ["validation", "training"].map((part) =>
      h("li", null, sample(`${models.length > 1 ? `model${"AB"[at]}` : "alone"} ${part}`), models.length > 1 ? `${model.name}, ${part}` : part)));
  const seeds = Math.max(...models.map((model) => model.detail.curves.length));
  return h(
    "section",
    { "aria-labelledby": "curves" },
    h("h2", { id: "curves" }, "Learning curves"),
    h("ul", { class: "key" }, styles),
    h("div", { class: "pair" }, charts),
    h(
      "p",
      { class: "legend" },
      seeds > 1
        ? "Circles: each trial's best epoch by validation. Lines: mean over the seeds; bands: from the lowest to the highest."
        : "Circle: the best epoch by validation, whose weights were tested.",
    ),
  );
}
