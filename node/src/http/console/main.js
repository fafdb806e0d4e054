// The page: listens to the node's events, and shows each look at the cluster.

import { chart } from "./chart.js";
import { by, el, say, table } from "./dom.js";
import * as figures from "./figures.js";
import * as lookup from "./lookup.js";
import * as ring from "./ring.js";

const HISTORY_MS = 5 * 60 * 1000;
const SHORTEST_MS = 60 * 1000;
// Percentiles are over so many looks.
const LOOKS = 6;
// After so long without a look what is shown is called old.
const OLD_MS = 4000;

const { bytes, count, span } = figures;

const charts = [
  chart("Operations a second", [["puts", "puts"], ["gets", "gets"], ["deletes", "deletes"]], count, 10),
  chart("Put latency", [["put50", "median"], ["put99", "p99"]], span, 1000),
  chart("Get latency", [["get50", "median"], ["get99", "p99"]], span, 1000),
  chart("Partitions behind", [["lacking", "lacking"], ["pulling", "pulled now"]], count, 4),
  chart("Hints held for others", [["hintBytes", "bytes"]], bytes, 1024),
  chart("A second, worth a look", [["notDone", "not done"], ["siblings", "reads with siblings"], ["repairs", "read repairs"]], count, 1),
];

let layout;
let looks = [];
let points = [];
let isPaused = false;
let lastWords = new Map();
let lastLook = 0;

function tiles(list, point) {
  const up = list.filter((member) => member.report?.state === "up").length;
  const behind = point.lacking;
  const rate = (name) => count(point[name]);
  const both = (kind) => `${span(point[`${kind}50`])} / ${span(point[`${kind}99`])}`;
  const said = [
    ["nodes up", `${up} of ${list.length}`, up === list.length ? "good" : "bad"],
    ["puts a second", rate("puts")],
    ["gets a second", rate("gets")],
    ["put median / p99", both("put")],
    ["get median / p99", both("get")],
    ["partitions behind", count(behind), behind > 0 ? "warn" : "good"],
    ["hints held", bytes(point.hintBytes), point.hintBytes > 0 ? "warn" : "good"],
    ["stored, all copies", bytes(figures.sum(list.map((member) => member.stored)))],
  ];
  const place = by("tiles");
  if (place.children.length !== said.length) {
    place.replaceChildren(...said.map(([name]) => el("div", {}, el("dt", {}, name), el("dd", {}))));
  }
  said.forEach(([, value, level = ""], at) => {
    const cell = place.children[at].querySelector("dd");
    say(cell, value);
    cell.className = level;
  });
}

function showMembers(list, state) {
  const columns = [["node", "text"], ["state", "text"], ["zone", "text"], ["weight", "figure"], ["share", "figure"], ["stored", "figure"],
    ["sync", "text"], ["hints", "figure"], ["sees", "figure"], ["version", "text"], ["for", "figure"]];
  const row = (m) => [
    m.name,
    el("span", { class: `state ${m.state.level}` }, m.state.word),
    m.zone,
    String(m.weight),
    figures.percent(m.share),
    bytes(m.stored),
    !m.report?.sync ? "–" : m.lacking > 0 ? el("span", { class: "state warn" }, `lacks ${m.lacking}`) : el("span", { class: "state good" }, "whole"),
    m.report ? (m.hints > 0 ? bytes(m.hintBytes) : "none") : "–",
    m.report ? `${m.peersAlive} of ${m.peers}` : "–",
    m.report?.version ?? "–",
    figures.uptime(m.state.since),
  ];
  by("members").replaceChildren(table("Members of the cluster", columns, list.map(row)));
  const remarks = [...figures.remarks(list), ...figures.toCome(state)].map(({ level, text }) => el("li", { class: level }, text));
  by("remarks").replaceChildren(...remarks);
}

// Tells who listens only what has changed.
function news(list) {
  const changed = list.filter((m) => lastWords.has(m.name) && lastWords.get(m.name) !== m.state.word);
  lastWords = new Map(list.map((m) => [m.name, m.state.word]));
  if (changed.length > 0) say(by("news"), changed.map((m) => `${m.name} is ${m.state.word}`).join(", "));
}

function showHot(state) {
  const list = figures.hot(state);
  if (list.length === 0) {
    by("hot").replaceChildren(el("p", { class: "faint" }, "No requests for a while."));
    return;
  }
  const most = list[0].rate;
  const rows = list.map(({ partition, rate }) => [
    String(partition),
    el("span", { class: "bar" }, el("meter", { min: 0, max: most, value: rate, "aria-hidden": "true" }), `${count(rate)}/s`),
    (layout.owners[partition] ?? []).join(", "),
  ]);
  by("hot").replaceChildren(table("Requests a second, about, by partition", [["partition", "figure"], ["requests", "text"], ["owners", "text"]], rows, "narrow"));
}

function show() {
  const state = looks.at(-1);
  if (!layout || !state || isPaused) return;
  const list = figures.members(layout, state);
  say(by("cluster"), `cluster ${state.cluster.slice(0, 8)}… · epoch ${state.epoch} · as ${state.asked} sees it`);
  document.title = `${list.filter((m) => m.report?.state === "up").length}/${list.length} dynode`;
  tiles(list, points.at(-1));
  showMembers(list, state);
  news(list);
  ring.showMoves(figures.moves(state));
  ring.showStates(new Map(list.map((m) => [m.name, m.state])));
  const to = state.at_ms;
  const from = Math.min(points[0].at, to - SHORTEST_MS);
  charts.forEach((one) => one.show(points, from, to));
  showHot(state);
}

function take(state) {
  lastLook = Date.now();
  looks = [...looks, state].slice(-LOOKS);
  points = [...points, figures.moment(looks)].filter((point) => point.at > state.at_ms - HISTORY_MS);
  showLink();
  show();
}

function showLink() {
  const isOld = Date.now() - lastLook > OLD_MS;
  const [word, level] = isPaused ? ["paused", "warn"] : lastLook === 0 ? ["connecting…", "faint"] : isOld ? ["not live: the node does not answer", "bad"] : ["live", "good"];
  const link = by("link");
  say(link, word);
  link.className = `link state ${level}`;
}

function begin() {
  by("charts").replaceChildren(...charts.map((one) => one.figure));
  ring.begin();
  lookup.begin();
  by("pause").addEventListener("click", (event) => {
    isPaused = !isPaused;
    event.target.setAttribute("aria-pressed", String(isPaused));
    showLink();
    show();
  });
  // The browser connects again by itself, a few seconds after a connection is lost.
  const source = new EventSource("/console/events");
  source.addEventListener("ring", (event) => {
    layout = JSON.parse(event.data);
    ring.showRing(layout);
    show();
  });
  source.addEventListener("state", (event) => take(JSON.parse(event.data)));
  setInterval(showLink, 1000);
}

begin();
