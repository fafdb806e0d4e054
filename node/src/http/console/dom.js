// Elements from data. Text is always text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

export const by = (id) => document.getElementById(id);

// Changes text only where it is another: what is read aloud is read once.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A table. As `cards` it becomes one card a row where there is no room for columns: each cell knows its column's name.
// `columns`: [heading, "text" or "figure"]; `rows`: lists of cells, text or elements; the first is the row's heading.
export function table(caption, columns, rows, kind = "cards") {
  const head = columns.map(([name, side]) => el("th", { scope: "col", class: side }, name));
  const row = (cells) =>
    el("tr", {}, cells.map((cell, at) => {
      const [name, side] = columns[at];
      return at === 0
        ? el("th", { scope: "row", class: side }, cell)
        : el("td", { class: side, "data-name": name }, el("span", {}, cell));
    }));
  return el("table", { class: kind },
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, head)),
    el("tbody", {}, rows.map(row)));
}
