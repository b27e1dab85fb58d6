// One model: its quantities and how it ranks, its curves, what it confuses, its trials and their records.

function rankOf(comparison, model, index) {
  const sign = QUANTITIES[index].better === null ? 0 : direction(QUANTITIES[index]);
  const having = comparison.models.filter((one) => one.values[index]);
  if (!sign || having.length < 2) return "";
  const ahead = having.filter((one) => sign * (one.values[index][0] - model.values[index][0]) > 0).length;
  return `${ahead + 1} of ${having.length}`;
}

function quantitiesTable(comparison, model) {
  const head = [
    h("th", { scope: "col" }, "quantity"),
    h("th", { scope: "col", colspan: 2, class: "number" }, "value"),
    h("th", { scope: "col", class: "number", title: "by the number alone" }, "rank"),
    model.by_seed.map((row) => h("th", { scope: "col", class: "number" }, `seed ${row.seed}`)),
    h("th", { scope: "col", class: "about" }, "what it is"),
  ];
  const rows = QUANTITIES.map((quantity, index) => {
    if (!model.values[index]) return null;
    return h(
      "tr",
      null,
      h("th", { scope: "row" }, quantity.label),
      valueCells(model, index),
      h("td", { class: "number rank" }, rankOf(comparison, model, index)),
      model.by_seed.map((row) => h("td", { class: "number seed" }, row.values[index] === null ? "" : shown(row.values[index], quantity))),
      h("td", { class: "about" }, quantity.about),
    );
  });
  return scrolling("Quantities", h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
}

// The record's file, relative to the page; each part encoded, so that no name can become another address.
const recordLink = (path) => h("a", { href: `./${path.split("/").map(encodeURIComponent).join("/")}` }, path);

function trialsTable(comparison, model) {
  const several = comparison.environments.length > 1;
  const head = ["seed", "status", "epochs", "best epoch", several && "environment", "record"].filter(Boolean);
  const rows = model.trials.map((trial) =>
    h(
      "tr",
      { class: trial.status === "ok" ? "" : "failed" },
      h("th", { scope: "row", class: "number" }, trial.seed),
      h("td", { class: trial.status === "ok" ? "" : "wrong" }, trial.status, trial.reason && h("div", { class: "reason" }, trial.reason)),
      h("td", { class: "number" }, trial.epochs ?? ""),
      h("td", { class: "number" }, trial.best ?? ""),
      several && h("td", { class: "number" }, trial.environment === null ? "" : trial.environment + 1),
      h("td", { class: "path" }, recordLink(trial.record)),
    ));
  const columns = head.map((text) => h("th", { scope: "col", class: ["status", "record"].includes(text) ? "" : "number" }, text));
  return scrolling("Trials", h("table", { class: "plain" }, h("thead", null, h("tr", null, columns)), h("tbody", null, rows)));
}

const facts = (rows) =>
  h("dl", { class: "facts" }, rows.map(([key, text]) => h("div", null, h("dt", null, key), h("dd", null, text))));

const section = (id, title, ...children) =>
  h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);

const noDetail = (model) =>
  finished(model) > 0 &&
  h("p", { class: "empty" }, `${model.name}: curves, confusion and report are left out to keep this page small; its records have them.`);

function modelView(comparison) {
  const model = findModel(comparison, state.m);
  if (!model) return [h("p", { class: "empty" }, `There is no model ${state.m} in this comparison.`)];
  const base = comparison.models.find((one) => one.name === model.base && finished(one));
  const other = base || comparison.models.find((one) => one !== model && finished(one));
  const status = statusText(model);
  const disturbed = Object.entries(model.disturbed).map(([key, why]) => `† ${QUANTITIES[quantityIndex(key)].label}: ${why}.`);
  return [
    h(
      "div",
      { class: "lead" },
      h("p", null, familyMark(comparison, model.family), model.family, status !== "ok" && h("span", { class: "wrong" }, status)),
      finished(model) > 0 && other && h("a", { class: "button", href: address({ view: "pair", a: model.name, b: other.name }) }, base ? "Compare with its base" : "Compare with another"),
    ),
    finished(model) > 0 &&
      section("quantities", "Quantities", quantitiesTable(comparison, model),
        [...disturbed, ...model.notes].map((note) => h("p", { class: "legend" }, note))),
    curvesSection([model]),
    model.detail &&
      h("div", { class: "pair" },
        section("confusion", "Confusion", confusionPart(comparison, model, model.name)),
        section("report", "By class", reportPart(comparison, model))),
    !model.detail && noDetail(model),
    section("trials", "Trials", trialsTable(comparison, model)),
    section("about", "The model", facts(model.about)),
  ];
}
