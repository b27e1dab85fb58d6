// Two models side by side: every quantity's difference, their curves over each other, both confusion matrices.

// "A is better: more than chance, p = 0.01", "tie: within noise, p = 0.3", "unknown: disturbed".
const resultText = ({ outcome, evidence }) => `${{ better: "A is better", worse: "B is better" }[outcome] || outcome}: ${evidence}`;

const ratioText = (ratio) => (!(ratio > 0 && ratio < Infinity) ? "" : ratio < 1000 ? ratio.toPrecision(3) : tickText(ratio));

function differencesTable(comparison, a, b) {
  const head = [
    h("th", { scope: "col" }, "quantity"),
    h("th", { scope: "col", colspan: 2, class: "number" }, h("span", { class: "tag modelA" }, "A"), " ", breaking(a.name)),
    h("th", { scope: "col", colspan: 2, class: "number" }, h("span", { class: "tag modelB" }, "B"), " ", breaking(b.name)),
    h("th", { scope: "col", colspan: 2, class: "number" }, "A − B"),
    h("th", { scope: "col", colspan: 2, class: "number" }, "A / B"),
    h("th", { scope: "col" }, "result"),
  ];
  const rows = QUANTITIES.map((quantity, index) => {
    const [one, other] = [a.values[index], b.values[index]];
    const verdict = verdictOf(comparison, a, b, index);
    if (!one || !other || !verdict) return null;
    const difference = one[0] - other[0];
    const ends = verdict.low === undefined ? [] : [verdict.low, verdict.high].map((end) => (quantity.ratio ? ratioText(end) : shown(end, quantity)));
    const interval = ends.length ? `[${ends.join(", ")}]` : "";
    return h(
      "tr",
      { class: ["better", "worse"].includes(verdict.outcome) ? "" : "noise" },
      h("th", { scope: "row", title: quantity.about }, quantity.label),
      valueCells(a, index),
      valueCells(b, index),
      h("td", { class: "number difference" }, `${difference > 0 ? "+" : ""}${shown(difference, quantity)}`),
      h("td", { class: "interval" }, quantity.ratio ? "" : interval),
      h("td", { class: "number" }, ratioText(one[0] / other[0])),
      h("td", { class: "interval" }, quantity.ratio ? interval : ""),
      h("td", { class: "result" }, resultText(verdict)),
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
      differencesTable(comparison, a, b),
      h(
        "p",
        { class: "legend" },
        "95 % intervals of the difference, of times of the ratio, each by itself. Top-1 is tested on the same test pictures, times by their ratios where they were timed side by side, other scores over three common seeds or more; p is corrected for all pairs of models. A tie is what the test cannot tell apart.",
      ),
    ),
    curvesSection([a, b]),
    detailed &&
      section(
        "confusions",
        "Confusion",
        h("div", { class: "pair" }, [a, b].map((model, at) =>
          h("div", null, h("h3", null, h("span", { class: `tag model${"AB"[at]}` }, "AB"[at]), " ", breaking(model.name)), confusionPart(comparison, model, model.name)))),
      ),
    [a, b].map((model) => !model.detail && noDetail(model)),
  ];
}
