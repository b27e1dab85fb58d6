// Two models side by side: every quantity's difference, their curves over each other, both confusion matrices.

// What the difference says: an interval that holds zero is noise, no interval leaves it open.
function verdict([mean, low, high], quantity) {
  if (mean === 0) return "equal";
  const sign = quantity.better === null ? 0 : direction(quantity);
  const winner = sign * mean > 0 ? "A" : "B";
  if (!quantity.exact && low <= 0 && high >= 0) return "within noise";
  if (!sign) return "";
  return quantity.exact || low !== undefined ? `${winner} is better` : `${winner} ahead, noise unknown`;
}

const ratioText = (ratio) => (!(ratio > 0 && ratio < Infinity) ? "" : ratio < 1000 ? ratio.toPrecision(3) : tickText(ratio));

function differencesTable(a, b) {
  const head = [
    h("th", { scope: "col" }, "quantity"),
    h("th", { scope: "col", colspan: 2, class: "number" }, h("span", { class: "tag modelA" }, "A"), " ", a.name),
    h("th", { scope: "col", colspan: 2, class: "number" }, h("span", { class: "tag modelB" }, "B"), " ", b.name),
    h("th", { scope: "col", colspan: 2, class: "number" }, "A − B"),
    h("th", { scope: "col", class: "number" }, "A / B"),
    h("th", { scope: "col" }, "result"),
  ];
  const rows = QUANTITIES.map((quantity, index) => {
    const found = difference(a, b, index);
    if (!found) return null;
    const words = verdict(found, quantity);
    return h(
      "tr",
      { class: !words || words.endsWith("is better") ? "" : "noise" },
      h("th", { scope: "row", title: quantity.about }, quantity.label),
      valueCells(a, index),
      valueCells(b, index),
      h("td", { class: "number difference" }, `${found[0] > 0 ? "+" : ""}${shown(found[0], quantity)}`),
      h("td", { class: "interval" }, intervalText(found, quantity)),
      h("td", { class: "number" }, ratioText(a.values[index][0] / b.values[index][0])),
      h("td", { class: "result" }, words),
    );
  });
  return scrolling("Differences", h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
}

function pairView(comparison) {
  const usable = comparison.models.filter(finished);
  if (usable.length < 2) return [h("p", { class: "empty" }, "Two models that ended well are needed to compare.")];
  const a = usable.find((model) => model.name === state.a) || usable[0];
  const b = usable.find((model) => model.name === state.b && model !== a) || usable.find((model) => model !== a);
  const names = usable.map((model) => [model.name, model.name]);
  const go = (changes) => {
    location.hash = address({ a: a.name, b: b.name, ...changes });
  };
  const detailed = a.detail && b.detail;
  return [
    h(
      "div",
      { class: "controls" },
      choice("Model A", names, a.name, (value) => go(value === b.name ? { a: value, b: a.name } : { a: value })),
      h("button", { type: "button", class: "button", "aria-label": "Swap A and B", onclick: () => go({ a: b.name, b: a.name }) }, "⇄ Swap"),
      choice("Model B", names, b.name, (value) => go(value === a.name ? { a: b.name, b: value } : { b: value })),
    ),
    section(
      "differences",
      "Differences",
      differencesTable(a, b),
      h(
        "p",
        { class: "legend" },
        "95 % intervals of the difference: over the seeds that both have, paired (Student's t); with one seed, from each measurement's own interval, taken as independent; where there is none, how large the noise is stays unknown. One quantity at a time: not corrected for looking at many.",
      ),
    ),
    curvesSection([a, b]),
    detailed &&
      section(
        "confusions",
        "Confusion",
        h("div", { class: "pair" }, [a, b].map((model, at) =>
          h("div", null, h("h3", null, h("span", { class: `tag model${"AB"[at]}` }, "AB"[at]), " ", model.name), confusionPart(comparison, model, model.name)))),
      ),
    [a, b].map((model) => !model.detail && noDetail(model)),
  ];
}
