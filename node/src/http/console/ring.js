// The ring, drawn: from outside to inside each partition's first, second, … owner; a table says the same.

import { by, el, say, svg, table } from "./dom.js";
import { percent, plural } from "./figures.js";

const COLOURS = 8;
const [OUTER, INNER] = [196, 104];
// More ways than these are drawn, and not listed.
const WAYS_LISTED = 12;

let ring;
let chosen;
let states = new Map();
let moving = [];

const colourBy = () => document.querySelector('input[name="by"]:checked').value;
const zones = () => [...new Set(ring.members.map((member) => member.zone))].sort();
const memberOf = (name) => ring.members.find((member) => member.name === name);
const groupOf = (name) => (colourBy() === "zone" ? memberOf(name)?.zone : name);
const groups = () => (colourBy() === "zone" ? zones() : ring.members.map((member) => member.name));
const colourOf = (group) => `c${Math.max(0, groups().indexOf(group)) % COLOURS}`;
const isAway = (name) => ["down", "no answer", "suspect"].includes(states.get(name)?.word);

const point = (radius, turn) => {
  const angle = 2 * Math.PI * turn - Math.PI / 2;
  return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
};

// A piece of a ring between two radii, from one turn to another (0 to 1, clockwise from the top).
function piece(outer, inner, from, to) {
  const large = to - from > 0.5 ? 1 : 0;
  return `M${point(outer, from)}A${outer} ${outer} 0 ${large} 1 ${point(outer, to)}` +
    `L${point(inner, to)}A${inner} ${inner} 0 ${large} 0 ${point(inner, from)}Z`;
}

function draw() {
  const copies = Math.max(1, ...ring.owners.map((owners) => owners.length));
  const width = (OUTER - INNER) / copies;
  const parts = ring.owners.map((owners, partition) => {
    const [from, to] = [partition / ring.partitions, Math.min((partition + 1) / ring.partitions, 0.99999)];
    const pieces = owners.map((name, at) =>
      svg("path", {
        d: piece(OUTER - at * width - 1, OUTER - (at + 1) * width, from, to),
        class: `piece ${colourOf(groupOf(name))}`,
        "data-owner": name,
        "data-group": groupOf(name),
      }));
    return svg("g", { "data-partition": partition }, svg("title", {}, `partition ${partition}: ${owners.join(", ")}`), pieces);
  });
  const label = `The ring: ${ring.partitions} partitions, ${copies} owners each, of ${ring.members.length} nodes. The table below says the same.`;
  const drawing = svg("svg", { viewBox: "-214 -214 428 428", role: "img", "aria-label": label },
    parts,
    svg("g", { id: "moves" }),
    svg("g", { id: "mark" }),
    svg("text", { class: "big", y: -8 }, String(ring.partitions)),
    svg("text", { y: 14 }, "partitions"),
    svg("text", { class: "faint", y: 40 }, `${copies} ${copies === 1 ? "copy" : "copies"} · epoch ${ring.epoch}`));
  by("ring").replaceChildren(drawing);
  drawLegend();
  drawMoves();
  emphasise();
}

// Outside of the ring, in the colour of who gets it, each partition that is on its way; and in words.
function drawMoves() {
  const arcs = moving.map(({ partition, phase, leaves, comes_to: comesTo, contained_by: containedBy }) => {
    const [from, to] = [partition / ring.partitions, Math.min((partition + 1) / ring.partitions, 0.99999)];
    const all = Math.max(1, comesTo.length);
    const pieces = (comesTo.length > 0 ? comesTo : [undefined]).map((name, at) =>
      svg("path", {
        d: piece(OUTER + 9, OUTER + 3, from + ((to - from) * at) / all, from + ((to - from) * (at + 1)) / all),
        class: `move ${name === undefined ? "" : colourOf(groupOf(name))}`,
        "data-phase": phase,
      }));
    const whole = containedBy.length > 0 ? containedBy.join(", ") : "nobody yet";
    const words = `partition ${partition}, ${phase}: ${leaves.join(", ") || "nobody"} to ${comesTo.join(", ") || "nobody"}; contained by ${whole}`;
    return svg("g", {}, svg("title", {}, words), pieces);
  });
  by("moves")?.replaceChildren(...arcs);
  if (moving.length === 0) {
    by("moving").replaceChildren();
    return;
  }
  // Those that go the same way are one line.
  const ways = new Map();
  for (const one of moving) {
    const way = [one.phase, one.leaves.join(", ") || "–", one.comes_to.join(", ") || "–"];
    const all = ways.get(way.join("\n")) ?? { way, count: 0, whole: 0 };
    all.count += 1;
    all.whole += one.comes_to.every((name) => one.contained_by.includes(name)) ? 1 : 0;
    ways.set(way.join("\n"), all);
  }
  const columns = [["phase", "text"], ["from", "text"], ["to", "text"], ["partitions", "figure"], ["arrived", "figure"]];
  const rows = [...ways.values()].sort((x, y) => y.count - x.count).map(({ way, count, whole }) => [...way, String(count), String(whole)]);
  const title = `${plural(moving.length, "partition")} on the way to other owners`;
  by("moving").replaceChildren(
    el("p", {}, title),
    table(title, columns, rows.slice(0, WAYS_LISTED), "narrow"),
    ...(rows.length > WAYS_LISTED ? [el("p", { class: "faint" }, `and ${rows.length - WAYS_LISTED} ways more`)] : []));
}

function drawLegend() {
  const share = (group) => ring.members.filter((m) => groupOf(m.name) === group).reduce((all, m) => all + m.share, 0);
  const detail = (group) => (colourBy() === "zone" ? "" : ` ${memberOf(group)?.zone ?? ""}`);
  const buttons = groups().map((group) =>
    el("li", {}, el("button", { type: "button", "aria-pressed": "false", "data-group": group, onclick: () => choose(group) },
      el("span", { class: `swatch ${colourOf(group)}`, "aria-hidden": "true" }),
      el("span", { class: "name" }, group),
      el("span", { class: "faint" }, `${detail(group)} ${percent(share(group))}`),
      el("span", { class: "away-word" }))));
  by("legend").replaceChildren(...buttons);
}

function choose(group) {
  chosen = chosen === group ? undefined : group;
  emphasise();
}

// Dims what is not chosen, and shows whose owners are away.
function emphasise() {
  for (const path of document.querySelectorAll("#ring .piece")) {
    path.classList.toggle("dim", chosen !== undefined && path.dataset.group !== chosen);
    path.classList.toggle("away", isAway(path.dataset.owner));
  }
  for (const button of document.querySelectorAll("#legend button")) {
    button.setAttribute("aria-pressed", String(button.dataset.group === chosen));
    const away = colourBy() === "node" && isAway(button.dataset.group);
    say(button.querySelector(".away-word"), away ? states.get(button.dataset.group).word : "");
  }
}

function fillTable() {
  const details = by("ring-table");
  if (!details.open || !ring) return;
  const rows = ring.owners.map((owners, partition) => [String(partition), owners.join(", ")]);
  details.querySelector(".scroll").replaceChildren(table("Owners of each partition, the first owner first", [["partition", "figure"], ["owners", "text"]], rows, "narrow"));
}

// Another layout.
export function showRing(next) {
  ring = next;
  if (chosen !== undefined && !groups().includes(chosen)) chosen = undefined;
  draw();
  fillTable();
}

// Who is there, by name.
export function showStates(next) {
  states = next;
  emphasise();
}

// What is on its way.
export function showMoves(next) {
  if (JSON.stringify(next) === JSON.stringify(moving)) return;
  moving = next;
  if (ring) drawMoves();
}

// Points at where a token lies; it is 16 hexadecimal digits.
export function mark(token, partition) {
  const turn = parseInt(token.slice(0, 8), 16) / 2 ** 32;
  const arrow = `M${point(OUTER + 2, turn)}L${point(OUTER + 16, turn - 0.007)}L${point(OUTER + 16, turn + 0.007)}Z`;
  const [from, to] = [partition / ring.partitions, (partition + 1) / ring.partitions];
  by("mark")?.replaceChildren(
    svg("path", { class: "outline", d: piece(OUTER, INNER - 2, from, Math.min(to, from + 0.99999)) }),
    svg("path", { class: "arrow", d: arrow }));
}

export function begin() {
  by("ring-table").addEventListener("toggle", fillTable);
  for (const input of document.querySelectorAll('input[name="by"]')) {
    input.addEventListener("change", () => {
      chosen = undefined;
      if (ring) draw();
    });
  }
}
