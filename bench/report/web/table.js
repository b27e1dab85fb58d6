// All models of a comparison: the chart, and the table that is sorted, filtered and has its columns chosen.

// The columns shown: those chosen, else the usual ones; of either only what some model has.
function chosenColumns(comparison) {
  // A telephone has room for the accuracy and one cost.
  if (NARROW_SCREEN.matches && !state.columns) return measuredColumns(comparison).filter((index) => ["accuracy", chosenCost(comparison)].includes(QUANTITIES[index].key));
  const keys = state.columns ? state.columns.split(" ") : DATA.columns;
  return measuredColumns(comparison).filter((index) => keys.includes(QUANTITIES[index].key));
}

const measuredColumns = (comparison) =>
  QUANTITIES.map((_, index) => index).filter((index) => comparison.models.some((model) => model.values[index]));

const measuredCosts = (comparison) => measuredColumns(comparison).map((index) => QUANTITIES[index]).filter((quantity) => quantity.cost);

// The key of the cost that stands beside the accuracy on a telephone: the one chosen, else the chart's.
function chosenCost(comparison) {
  const keys = measuredCosts(comparison).map((quantity) => quantity.key);
  return [state.cost, state.x, keys[0]].find((key) => keys.includes(key));
}

const TEXTS = new Map([["model", (model) => model.name], ["family", (model) => model.family], ["status", statusText]]);

// By the state's column, `-` before its key for falling; what has no value comes last either way.
function sorted(models) {
  const falling = state.sort.startsWith("-");
  const key = state.sort.replace("-", "");
  const index = quantityIndex(key);
  const text = TEXTS.get(key);
  if (!text && index < 0) return models;
  const turn = falling ? -1 : 1;
  if (text) return [...models].sort((p, q) => turn * text(p).localeCompare(text(q), "en", { numeric: true }));
  const having = models.filter((model) => model.values[index]);
  const lacking = models.filter((model) => !model.values[index]);
  return [...having.sort((p, q) => turn * (p.values[index][0] - q.values[index][0])), ...lacking];
}

function headerCell(key, label, { about, better, span = 1, name = "", update }) {
  const current = state.sort.replace("-", "") === key;
  const falling = state.sort.startsWith("-");
  // The first press puts the best on top; the second turns it round.
  const first = better === "higher" ? `-${key}` : key;
  const next = current ? (falling ? key : `-${key}`) : first;
  const button = h(
    "button",
    {
      type: "button",
      "data-sort": key,
      title: about,
      onclick: () => {
        remember({ sort: next });
        update();
        document.querySelector(`[data-sort="${key}"]`).focus();
      },
    },
    label,
    h("span", { class: "arrow", "aria-hidden": "true" }, current ? (falling ? "▼" : "▲") : ""),
  );
  const sort = current ? (falling ? "descending" : "ascending") : null;
  return h("th", { scope: "col", colspan: span, class: span > 1 ? "number" : name, "aria-sort": sort }, button);
}

const MARKS = { best: "best", tie: "tied with the best", unknown: "not compared with the best" };
const SIGNS = { tie: "≈", unknown: "?" };

// A value and its interval in two cells, so that the values stand under each other.
function valueCells(model, index, marked = false) {
  const [quantity, value] = [QUANTITIES[index], model.values[index]];
  if (!value) return [h("td", { class: "number" }), h("td", { class: "interval" })];
  const mark = marked && model.marks[quantity.key];
  const disturbed = model.disturbed[quantity.key];
  return [
    h("td", { class: `number ${mark || ""}` }, shown(value[0], quantity), mark && hidden(` ${MARKS[mark]}`)),
    h(
      "td",
      { class: "interval" },
      SIGNS[mark] && h("span", { "aria-hidden": "true", title: MARKS[mark] }, SIGNS[mark], " "),
      intervalText(value, quantity),
      disturbed && h("span", { title: `the machine disturbed this: ${disturbed}` }, " †"),
    ),
  ];
}

function modelsTable(comparison, models, update) {
  const columns = chosenColumns(comparison);
  const head = h(
    "tr",
    null,
    headerCell("model", "model", { update }),
    headerCell("family", "family", { name: "family", update }),
    headerCell("status", "status", { name: "status", update }),
    columns.map((index) => {
      const { key, label, about, better } = QUANTITIES[index];
      return headerCell(key, label, { about, better, span: 2, update });
    }),
  );
  const rows = sorted(models).map((model) => {
    const status = statusText(model);
    return h(
      "tr",
      { class: finished(model) ? "" : "failed" },
      h("th", { scope: "row" }, h("a", { href: address({ view: "model", m: model.name }) }, breaking(model.name)),
        status !== "ok" && h("div", { class: "wrong narrow", "aria-hidden": "true" }, status)),
      h("td", { class: "family" }, familyMark(comparison, model.family), model.family),
      h("td", { class: status === "ok" ? "status" : "status wrong" }, status),
      columns.map((index) => valueCells(model, index, true)),
    );
  });
  const anyDisturbed = models.some((model) => columns.some((index) => model.disturbed[QUANTITIES[index].key]));
  return [
    scrolling("Models", h("table", { class: "models" }, h("thead", null, head), h("tbody", null, rows))),
    h(
      "p",
      { class: "legend" },
      [
        ...comparison.how_to_read,
        anyDisturbed && "† the machine disturbed this measurement; the model's page says how.",
      ].filter(Boolean).join(" "),
    ),
    ...failuresTable(models),
  ];
}

function failuresTable(models) {
  const rows = models.flatMap((model) =>
    failed(model).map((trial) =>
      h("tr", null, h("th", { scope: "row" }, breaking(model.name)), h("td", { class: "number" }, trial.seed),
        h("td", { class: "wrong" }, trial.status), h("td", { class: "reason" }, trial.reason || "no reason is known"))));
  if (!rows.length) return [];
  const head = ["model", "seed", "status", "reason"].map((text) => h("th", { scope: "col", class: text === "seed" ? "number" : "" }, text));
  const table = h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows));
  return [h("h3", null, "Failed trials"), scrolling("Failed trials", table)];
}

function columnChooser(comparison, update) {
  const chosen = new Set(chosenColumns(comparison));
  const boxes = measuredColumns(comparison).map((index) => {
    const { label, about } = QUANTITIES[index];
    const box = h("input", {
      type: "checkbox",
      checked: chosen.has(index),
      onchange: () => {
        if (box.checked) chosen.add(index);
        else chosen.delete(index);
        const keys = QUANTITIES.filter((_, at) => chosen.has(at)).map((quantity) => quantity.key);
        remember({ columns: keys.join(" ") || "none" });
        update();
      },
    });
    return h("label", { title: about }, box, " ", label);
  });
  const summary = h("summary", null, "Columns");
  const menu = h("details", { class: "columns" }, summary, h("div", { class: "menu" }, boxes));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    summary.focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  return menu;
}

function axisChoice(label, key, update) {
  const usable = (quantity) => direction(quantity) !== 0;
  const options = QUANTITIES.filter(usable).map((quantity) => [quantity.key, quantity.label]);
  return choice(label, options, state[key], (value) => {
    remember({ [key]: value });
    update();
  });
}

function modelsView(comparison) {
  const body = h("div", { class: "body" });
  const tally = h("p", { class: "tally", role: "status" });
  const plot = scatter(comparison, () => filtered(comparison));
  const refill = () => body.replaceChildren(...modelsTable(comparison, filtered(comparison), refill));
  const redraw = () => {
    const models = filtered(comparison);
    refill();
    tally.textContent = `${models.length} of ${count(comparison.models.length, "model")}`;
    plot.redraw();
  };
  const find = h("input", {
    id: "find",
    type: "search",
    value: state.find,
    placeholder: "name, family, status",
    oninput: () => {
      remember({ find: find.value });
      redraw();
    },
  });
  const family = [["", "all"], ...families(comparison).map((name) => [name, name])];
  const based = bases(comparison).map((name) => [name, name]);
  const scale = [["log", "logarithmic"], ["linear", "linear"]];
  redraw();
  return [
    h(
      "section",
      { "aria-labelledby": "plot" },
      h("h2", { id: "plot" }, "Accuracy against cost"),
      h(
        "div",
        { class: "controls" },
        axisChoice("Vertical axis", "y", redraw),
        axisChoice("Horizontal axis", "x", redraw),
        choice("Horizontal scale", scale, state.scale, (value) => {
          remember({ scale: value });
          redraw();
        }),
        h("ul", { class: "key", "aria-label": "Families" }, families(comparison).map((name) => h("li", null, familyMark(comparison, name), name))),
      ),
      plot.box,
      plot.words,
    ),
    h(
      "section",
      { "aria-labelledby": "models" },
      h("h2", { id: "models" }, "Models"),
      h(
        "div",
        { class: "controls" },
        h("div", { class: "field grow" }, h("label", { for: "find" }, "Filter"), find),
        choice("Family", family, state.family, (value) => {
          remember({ family: value });
          redraw();
        }),
        based.length > 0 && choice("Base, with its extensions", [["", "all"], ...based], state.base, (value) => {
          remember({ base: value });
          redraw();
        }),
        h("div", { class: "narrow" }, choice("Cost", measuredCosts(comparison).map((one) => [one.key, one.label]), chosenCost(comparison), (value) => {
          remember({ cost: value, columns: "" });
          refill();
        })),
        columnChooser(comparison, refill),
        tally,
      ),
      body,
    ),
  ];
}
