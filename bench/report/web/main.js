// The page: its bar, and the view that the address names.

const VIEWS = { models: modelsView, model: modelView, pair: pairView, protocol: protocolView };
const TABS = [["models", "Models"], ["pair", "Side by side"], ["protocol", "Protocol"]];

function applyTheme() {
  if (state.theme) document.documentElement.dataset.theme = state.theme;
  else delete document.documentElement.dataset.theme;
}

function themeButton() {
  const dark = () => (state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const press = () => {
    remember({ theme: dark() ? "light" : "dark" });
    show();
    document.querySelector(".theme").focus();
  };
  return h("button", { type: "button", class: "button theme", onclick: press },
    h("span", { "aria-hidden": "true" }, dark() ? "☀" : "☾"), dark() ? "Light" : "Dark");
}

function bar(comparison) {
  const names = DATA.comparisons.map((one) => [one.name, one.name]);
  return [
    h("span", { class: "brand" }, "bench"),
    comparison && names.length > 1 &&
      choice("Comparison", names, comparison.name, (value) => {
        location.hash = address({ c: value, m: "", a: "", b: "", family: "", base: "", find: "", view: state.view === "model" ? "models" : state.view });
      }),
    comparison &&
      h("nav", { "aria-label": "Views" }, TABS.map(([view, text]) =>
        h("a", { href: address({ view }), "aria-current": state.view === view ? "page" : null }, text))),
    themeButton(),
  ];
}

function title(comparison) {
  const trials = comparison.models.reduce((sum, model) => sum + model.trials.length, 0);
  const failed = trials - comparison.models.reduce((sum, model) => sum + finished(model), 0);
  const { data, classes, seeds } = comparison;
  const about = [
    `${data.name}, ${count(classes.length, "class", "classes")}`,
    `${grouped(data.train, 0)} training, ${grouped(data.val, 0)} validation, ${grouped(data.test, 0)} test pictures`,
    `${count(comparison.models.length, "model")}, ${count(seeds.length, "seed")}`,
  ];
  return h(
    "div",
    { class: "title" },
    state.view === "model" && h("p", { class: "back" }, h("a", { href: address({ view: "models" }) }, `← ${comparison.name}`)),
    h("h1", null, breaking(state.view === "model" ? state.m : comparison.name)),
    state.view === "models" && comparison.protocol.description && h("p", { class: "subtitle" }, comparison.protocol.description),
    state.view === "models" &&
      h("p", { class: "subtitle" }, about.join(" · "), failed > 0 && h("span", { class: "wrong" }, ` · ${count(failed, "trial")} failed`)),
    // Beside this file, made by the same report.
    state.view === "models" && h("p", { class: "subtitle" }, h("a", { href: "findings.md" }, "Findings"), " · ", h("a", { href: "claims.md" }, "Claims")),
  );
}

let shownView = "";

function show() {
  state = readState();
  applyTheme();
  const comparison = currentComparison();
  const main = document.getElementById("main");
  const view = VIEWS[state.view];
  document.getElementById("bar").replaceChildren(...bar(comparison).filter(Boolean));
  if (!comparison) {
    main.replaceChildren(h("h1", null, "No records yet"), h("p", null, "Run a model, then make the report again."));
    return;
  }
  main.replaceChildren(title(comparison), ...view(comparison).flat().filter(Boolean));
  // Of another view the reader is told, and starts at its top.
  const now = [state.c, state.view, state.m].join(" ");
  if (shownView && shownView !== now) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  shownView = now;
}

window.addEventListener("hashchange", show);
// What stands behind the # is the state: the link leaves it alone.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
NARROW_SCREEN.addEventListener("change", show);
show();
