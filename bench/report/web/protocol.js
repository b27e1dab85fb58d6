// What all trials of the comparison share, and the machines that they ran on.

// What is the same in all environments, then a column for each where they differ.
function environmentsPart(environments) {
  if (!environments.length) return h("p", { class: "empty" }, "No trial says where it ran.");
  const maps = environments.map((rows) => new Map(rows));
  const keys = [...new Set(environments.flatMap((rows) => rows.map(([key]) => key)))];
  const differs = (key) => maps.some((map) => map.get(key) !== maps[0].get(key));
  const same = keys.filter((key) => !differs(key)).map((key) => [key, maps[0].get(key)]);
  if (environments.length === 1) return facts(same);
  const head = h("tr", null, h("th", { scope: "col" }, ""), maps.map((_, at) => h("th", { scope: "col" }, `environment ${at + 1}`)));
  const rows = keys.filter(differs).map((key) => h("tr", null, h("th", { scope: "row" }, key), maps.map((map) => h("td", null, map.get(key) ?? ""))));
  return [
    h("h3", null, "Where they differ"),
    scrolling("Differences of the environments", h("table", { class: "plain" }, h("thead", null, head), h("tbody", null, rows))),
    h("h3", null, "The same in all"),
    facts(same),
  ];
}

function protocolView(comparison) {
  const { data, protocol, environments, classes, seeds } = comparison;
  return [
    section("data", "Data", facts([
      ["dataset", data.name],
      ["training pictures", grouped(data.train, 0)],
      ["validation pictures", grouped(data.val, 0)],
      ["test pictures", grouped(data.test, 0)],
      ["classes", `${classes.length}: ${classes.slice(0, 100).join(", ")}${classes.length > 100 ? ", …" : ""}`],
      ["fingerprint", data.fingerprint],
    ])),
    section("settings", "Protocol", facts([
      ["name", protocol.name],
      ...(protocol.description ? [["description", protocol.description]] : []),
      ["seeds recorded", seeds.join(", ")],
      ["fingerprint", protocol.fingerprint],
      ...protocol.settings.map(([key, text]) => [key, text === "" ? "none" : text]),
    ])),
    section("environments", environments.length > 1 ? `${environments.length} environments` : "Environment", environmentsPart(environments)),
  ];
}
