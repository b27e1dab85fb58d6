// Elements, made without a line of HTML: whatever a name contains, it is only ever text.

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

// h("a", {href, onclick}, "text", child …); null, undefined and false are left out.
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

// The same for SVG.
const s = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const hidden = (text) => h("span", { class: "hidden" }, text);

const option = (value, text, chosen) => h("option", { value, selected: value === chosen }, text);

// A labelled select; change(value) is called when another is chosen.
function choice(label, options, chosen, change) {
  const id = label.replaceAll(" ", "-");
  const select = h("select", { id, onchange: () => change(select.value) });
  select.append(...options.map(([value, text]) => option(value, text, chosen)));
  return h("div", { class: "field" }, h("label", { for: id }, label), select);
}

// A table that scrolls within itself, by keyboard too.
function scrolling(label, table) {
  table.prepend(h("caption", { class: "hidden" }, label));
  return h("div", { class: "scroll", role: "region", "aria-label": `${label}, table`, tabindex: 0 }, table);
}

// A model's name, which may be broken before each of its options and extensions, and nowhere else while there is room.
const breakable = (name) => name.split(/(?=[:,+@])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

const grouped = (number, decimals) =>
  number.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

// A value as its quantity is shown; two significant digits where its decimals would show nothing but zeros.
function shown(number, quantity) {
  const small = number !== 0 && Math.abs(number) < 10 ** -quantity.decimals;
  return small ? String(Number(number.toPrecision(2))).replace("-", "−") : grouped(number, quantity.decimals).replace("-", "−");
}

// "±0.41" where the interval lies even about the value, else, and of times, "[2.37, 7.70]"; empty where there is none,
// or no width.
function intervalText([mean, low, high], quantity) {
  if (low === undefined || high - low <= 1e-9 * (Math.abs(low) + Math.abs(high))) return "";
  const below = mean - low;
  const above = high - mean;
  if (!quantity.ratio && Math.abs(above - below) <= 0.02 * (above + below)) return `±${shown((above + below) / 2, quantity)}`;
  return `[${shown(low, quantity)}, ${shown(high, quantity)}]`;
}

const valueText = (value, quantity) =>
  value === null ? "not measured" : `${shown(value[0], quantity)} ${intervalText(value, quantity)}`.trim();

const count = (number, one, many = `${one}s`) => `${grouped(number, 0)} ${number === 1 ? one : many}`;
