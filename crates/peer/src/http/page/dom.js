// Small pieces that all parts of the page use. Text only ever goes in as text: names come from strangers.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// 1234567 as 1.23 M.
export function count(number) {
  if (number === null || number === undefined) return "–";
  const units = [[1e9, " G"], [1e6, " M"], [1e3, " k"]];
  for (const [size, unit] of units) {
    if (Math.abs(number) >= size * 10 || (Math.abs(number) >= size && size > 1e3)) {
      return short(number / size) + unit;
    }
  }
  return short(number);
}

function short(number) {
  const digits = Math.abs(number) >= 100 || Number.isInteger(number) ? 0 : Math.abs(number) >= 10 ? 1 : 2;
  return number.toLocaleString("en", { maximumFractionDigits: digits });
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) [number, at] = [number / 1024, at + 1];
  return `${short(number)} ${units[at]}`;
}

export function ms(number) {
  return number === null || number === undefined ? "–" : `${short(number)} ms`;
}

export function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

export function since(from, to) {
  const s = Math.round((to - from) / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

// A table whose rows have keys: cells change in place, so that focus and pointer stay where they are.
export class Table {
  constructor(element, caption, columns, nothing) {
    this.columns = columns;
    this.rows = new Map();
    this.nothing = nothing;
    const heads = columns.map((it) => make("th", { scope: "col", class: it.n ? "n" : null }, it.head));
    this.body = make("tbody");
    this.empty = make("p", { class: "empty" }, nothing);
    element.append(make("caption", { hidden: "" }, caption), make("thead", {}, make("tr", {}, ...heads)), this.body);
    element.after(this.empty);
    this.element = element;
  }

  show(list, key, kind = () => "") {
    const seen = new Set();
    for (const item of list) {
      const id = String(key(item));
      seen.add(id);
      let row = this.rows.get(id);
      if (!row) {
        const cells = this.columns.map((it) =>
          make("td", { class: [it.n ? "n" : "", it.mono ? "mono" : ""].join(" ").trim() || null, "data-head": it.label }));
        row = make("tr", {}, ...cells);
        this.rows.set(id, row);
        this.body.append(row);
      }
      row.className = kind(item);
      this.columns.forEach((column, at) => {
        if (column.fill) column.fill(row.cells[at], item);
        else text(row.cells[at], column.cell(item));
      });
    }
    for (const [id, row] of this.rows) {
      if (!seen.has(id)) [row.remove(), this.rows.delete(id)];
    }
    this.element.hidden = list.length === 0;
    this.empty.hidden = list.length > 0;
  }
}
