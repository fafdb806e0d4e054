// One key: where it lives, what each node of its preference list has of it, and what a read sees.

import { by, el, say, table } from "./dom.js";
import { bytes, plural } from "./figures.js";
import { mark } from "./ring.js";

const HEX_BYTES = 96;

// `node.life:counter` without the many digits that say nothing to the eye.
const short = (dot) => dot.replace(/([0-9a-f]{4})[0-9a-f]{8,}/g, "$1…");

const version = (report) => (report.values ?? []).map((value) => value.dot).sort().join(" ");

function clock(context) {
  const said = Object.entries(context ?? {}).map(([actor, runs]) => `${short(actor)} ${runs}`);
  return said.length ? said.join("; ") : "empty";
}

function copyRow(copy, at, common) {
  const role = copy.owner ? `${at + 1}. owner` : "stand-in";
  if (!copy.report) return [copy.node, role, state("bad", "no answer"), el("span", { class: "faint" }, copy.error ?? ""), ""];
  const { values = [], copy: holds, context } = copy.report;
  const listed = values.map((value) =>
    el("span", { class: "dot", title: value.dot }, `${short(value.dot)} · ${bytes(value.bytes)} · ${value.crc32}`));
  if (!copy.owner && !holds) return [copy.node, role, state("faint", "holds nothing"), "", ""];
  const same = version(copy.report) === common;
  const word = values.length === 0 ? "no value" : plural(values.length, "value");
  return [copy.node, role, state(same ? "good" : "warn", same ? word : `${word}, differs`), listed.length ? listed : "–", clock(context)];
}

const state = (level, word) => el("span", { class: `state ${level}` }, word);

function preview({ base64, content_type: kind, bytes: size }) {
  const raw = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  let text;
  try {
    // The end of what is shown may be in the middle of a character.
    text = new TextDecoder("utf-8", { fatal: true }).decode(raw, { stream: size > raw.length });
  } catch {
    text = undefined;
  }
  if (text === undefined || /[\u0000-\u0008\u000e-\u001f]/.test(text)) {
    text = [...raw.slice(0, HEX_BYTES)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
  const cut = size > raw.length ? `, the first ${bytes(raw.length)} of it` : "";
  return el("li", {}, el("p", { class: "faint" }, `${kind}, ${bytes(size)}${cut}`), el("pre", { tabindex: "0", "aria-label": "The value" }, text));
}

function show(found) {
  const owners = found.copies.filter((copy) => copy.owner);
  const heard = owners.filter((copy) => copy.report);
  const versions = heard.map((copy) => version(copy.report));
  // What most of the owners have.
  const common = [...versions].sort((a, b) => versions.filter((v) => v === b).length - versions.filter((v) => v === a).length)[0] ?? "";
  const same = new Set(versions).size <= 1;
  const siblings = found.read.siblings;
  const values = siblings ? (siblings.length === 0 ? "no value" : siblings.length === 1 ? "one value" : plural(siblings.length, "sibling")) : "";
  const agree = heard.length < found.owners
    ? `${heard.length} of ${found.owners} owners answer${heard.length > 1 && !same ? ", and differ" : ""}`
    : same ? `all ${found.owners} owners have the same version` : "the owners differ";
  say(by("found-said"), `${found.bucket}/${found.key}: ${found.read.error ? `not readable: ${found.read.error}` : values}; ${agree}.`);

  const pairs = [
    ["token", el("code", {}, found.token)],
    ["partition", `${found.partition} of ${found.partitions}, epoch ${found.epoch}`],
    ["preference list", found.copies.map((copy) => copy.node).join(", ")],
    ["read by", found.read.error ?? `${plural(found.read.owners, "owner")}${found.read.stand_ins ? ` and ${plural(found.read.stand_ins, "stand-in")}` : ""}`],
    ["context", found.read.context ? el("code", { class: "context" }, found.read.context) : "–"],
  ];
  by("found").replaceChildren(
    el("dl", { class: "pairs" }, pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    el("h3", {}, "Copies"),
    table("What each node's copy has of the key",
      [["node", "text"], ["role", "text"], ["copy", "text"], ["dots, bytes, CRC-32", "text"], ["context kept", "text"]],
      found.copies.map((copy, at) => copyRow(copy, at, common))),
    ...(siblings?.length ? [el("h3", {}, siblings.length > 1 ? "Siblings" : "Value"), el("ol", { class: "values" }, siblings.map(preview))] : []));
  mark(found.token, found.partition);
}

async function look(form) {
  const encode = form.elements.encoded.checked ? (text) => text.replaceAll("/", "%2F").replace(/[^\x21-\x7e]|[?#]/g, encodeURIComponent) : encodeURIComponent;
  const place = [form.elements.bucket, form.elements.key].map((input) => encode(input.value)).join("/");
  say(by("found-said"), "looking…");
  by("found").replaceChildren();
  try {
    const answer = await fetch(`/console/key/${place}`, { headers: { Accept: "application/json" } });
    const found = await answer.json();
    if (answer.ok) show(found);
    else say(by("found-said"), `Not looked up: ${found.detail}`);
  } catch (why) {
    say(by("found-said"), `Not looked up: the node does not answer (${why.message})`);
  }
}

export function begin() {
  by("lookup").addEventListener("submit", (event) => {
    event.preventDefault();
    look(event.target);
  });
}
