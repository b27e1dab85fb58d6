// What a model takes for what: the confusion matrix, the most frequent confusions, the report by class.

function mostConfused(matrix, limit) {
  return matrix
    .flatMap((row, actual) => {
      const all = row.reduce((sum, cell) => sum + cell, 0);
      return row.flatMap((cell, predicted) => (cell && actual !== predicted ? [[actual, predicted, cell, all]] : []));
    })
    .sort((p, q) => q[2] - p[2] || p[0] - q[0] || p[1] - q[1])
    .slice(0, limit);
}

const percent = (share) => `${grouped(100 * share, 1)} %`;

function matrixTable(classes, matrix, shares) {
  const long = classes.some((name) => name.length > 3);
  const heads = classes.map((name) => h("th", { scope: "col", title: name }, h("span", null, name)));
  const rows = matrix.map((row, actual) => {
    const all = row.reduce((sum, cell) => sum + cell, 0);
    const cells = row.map((cell, predicted) => {
      const share = all ? cell / all : 0;
      const words = `${classes[actual]} taken for ${classes[predicted]}: ${count(cell, "picture")}, ${percent(share)} of the class`;
      const shown = shares ? grouped(100 * share, share > 0 && share < 0.0995 ? 1 : 0) : grouped(cell, 0);
      const box = h("td", { class: actual === predicted ? "right" : null, title: words }, cell ? shown : "");
      // The square root lets rare confusions be seen beside the diagonal.
      box.style.setProperty("--heat-share", `${(100 * Math.sqrt(share)).toFixed(0)}%`);
      return box;
    });
    return h("tr", null, h("th", { scope: "row", title: classes[actual] }, h("span", null, classes[actual])), cells);
  });
  const corner = h("td", { class: "corner" }, "true ↓ predicted →");
  return h("table", { class: long ? "matrix long" : "matrix" }, h("thead", null, h("tr", null, corner, heads)), h("tbody", null, rows));
}

function confusedTable(classes, found) {
  const rows = found.map(([actual, predicted, number, all]) =>
    h("tr", null, h("td", null, classes[actual]), h("td", null, classes[predicted]),
      h("td", { class: "number" }, grouped(number, 0)), h("td", { class: "number" }, percent(number / all))));
  const head = ["true class", "taken for", "pictures", "of the class"].map((text, at) => h("th", { scope: "col", class: at > 1 ? "number" : "" }, text));
  return h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows));
}

// The matrix with a switch between counts and shares; where there are too many classes, the confusions alone.
function confusionPart(comparison, model, label) {
  const { confusion, confused } = model.detail;
  const { classes } = comparison;
  if (confused) {
    return h("div", null, h("p", { class: "legend" }, `The most frequent confusions among ${classes.length} classes.`),
      scrolling(`Most frequent confusions of ${label}`, confusedTable(classes, confused)));
  }
  if (!confusion.length) return h("p", { class: "empty" }, "The records have no confusion matrix.");
  const place = h("div");
  const buttons = ["counts", "row shares (%)"].map((text, at) =>
    h("button", { type: "button", onclick: () => show(at === 1) }, text));
  const show = (shares) => {
    place.replaceChildren(scrolling(`Confusion matrix of ${label}`, matrixTable(classes, confusion, shares)));
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String((at === 1) === shares)));
  };
  show(false);
  const worst = mostConfused(confusion, 3).map(([actual, predicted, number, all]) =>
    `${classes[actual]} taken for ${classes[predicted]} (${grouped(number, 0)} of ${grouped(all, 0)})`);
  return h(
    "div",
    null,
    h("div", { class: "switch", role: "group", "aria-label": "Shown in the matrix" }, buttons),
    place,
    h(
      "p",
      { class: "legend" },
      [
        "Colour: share of the true class.",
        finished(model) > 1 && `Sum over ${finished(model)} trials.`,
        worst.length ? `Most often wrong: ${worst.join("; ")}.` : "No picture was classified wrongly.",
      ].filter(Boolean).join(" "),
    ),
  );
}

function reportPart(comparison, model) {
  const { report } = model.detail;
  if (!report.length) return h("p", { class: "empty" }, "The records have no report by class.");
  const head = ["class", "precision", "recall", "F1", "support"].map((text, at) => h("th", { scope: "col", class: at ? "number" : "" }, text));
  const rows = report.map((values, at) =>
    h("tr", null, h("th", { scope: "row" }, comparison.classes[at]),
      values.map((value, column) => h("td", { class: "number" }, value === null ? "" : grouped(value, column < 3 ? 3 : 0)))));
  return h(
    "div",
    null,
    scrolling("Classification report", h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows))),
    finished(model) > 1 && h("p", { class: "legend" }, "Means over the trials."),
  );
}
