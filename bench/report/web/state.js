// What is shown: all of it stands behind the # of the address, so that Back works and a view can be sent.

const DATA = JSON.parse(document.getElementById("data").textContent);
const QUANTITIES = DATA.quantities;
const QUANTITY_KEYS = QUANTITIES.map((quantity) => quantity.key);
const quantityIndex = (key) => QUANTITY_KEYS.indexOf(key);
const VIEW_NAMES = ["models", "model", "pair", "protocol"];

const DEFAULTS = {
  c: "", // comparison
  view: "models",
  m: "", // the model shown
  a: "", // the two that are compared
  b: "",
  find: "",
  family: "",
  base: "", // with what extends it
  sort: "",
  columns: "",
  cost: "", // the one beside the accuracy, on a telephone
  x: "gmacs",
  y: "accuracy",
  scale: "log",
  theme: "",
};

// Own keys only, axes and views that exist: an address may be old, or made up.
function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  const allowed = { x: QUANTITY_KEYS, y: QUANTITY_KEYS, cost: QUANTITY_KEYS, view: VIEW_NAMES };
  const usable = (key, value) => value !== null && (!allowed[key] || allowed[key].includes(value));
  const read = (key, value) => (usable(key, given.get(key)) ? given.get(key) : value);
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, value]) => [key, read(key, value)]));
}

// Of a telephone's width; page.css has the same number.
const NARROW_SCREEN = matchMedia("(max-width: 640px)");

let state = readState();

// The address of this state with some changes.
function address(changes) {
  const next = { ...state, ...changes };
  const given = Object.entries(next).filter(([key, value]) => value !== DEFAULTS[key]);
  return `#${new URLSearchParams(given)}`;
}

// Remember a change of what is shown, without a step for Back.
function remember(changes) {
  history.replaceState(null, "", address(changes));
  state = readState();
}

function currentComparison() {
  return DATA.comparisons.find((one) => one.name === state.c) || DATA.comparisons[0];
}

const findModel = (comparison, name) => comparison.models.find((model) => model.name === name);
const finished = (model) => model.trials.filter((trial) => trial.status === "ok").length;

const failed = (model) => model.trials.filter((trial) => trial.status !== "ok");

// "ok", "2 of 3 ok", or what went wrong where none ended well.
function statusText(model) {
  if (!failed(model).length) return "ok";
  return finished(model) ? `${finished(model)} of ${model.trials.length} ok` : failed(model)[0].status;
}

// The models that the text, the family and the base leave.
function filtered(comparison) {
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  return comparison.models.filter((model) => {
    const reasons = failed(model).map((trial) => `${trial.status} ${trial.reason}`);
    const text = [model.name, model.family, statusText(model), ...reasons].join(" ").toLowerCase();
    const based = !state.base || model.name === state.base || model.base === state.base;
    return based && (!state.family || model.family === state.family) && words.every((word) => text.includes(word));
  });
}

// The models that are there both as they are and extended.
const bases = (comparison) => comparison.models.map((model) => model.name).filter((name) => comparison.models.some((model) => model.base === name));

// A family's colour and shape are the same everywhere in a comparison.
const families = (comparison) => [...new Set(comparison.models.map((model) => model.family))].sort();
