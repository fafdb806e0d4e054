// Figures: from the nodes' reports to what is shown of them. Nothing here touches the page.

const round = (value) => (value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value).toString());

export function count(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1e6) return `${round(value / 1e6)} M`;
  if (value >= 1e4) return `${round(value / 1e3)} k`;
  return value < 10 ? round(value) : Math.round(value).toLocaleString("en");
}

export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${round(value)} ${units[at]}`;
}

export function span(us) {
  if (!Number.isFinite(us)) return "–";
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${round(us / 1000)} ms`;
  return `${round(us / 1e6)} s`;
}

export function uptime(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export const percent = (part) => `${(100 * part).toFixed(1)} %`;

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

export const sum = (list) => list.reduce((a, b) => a + (Number.isFinite(b) ? b : 0), 0);

const stored = (report) => sum(Object.values(report?.bytes ?? {}));

// What a member is, in a word, and how good that is. A report says it; without one, what the node asked takes it for.
export function stateOf(node, asked) {
  const seen = (asked?.peers ?? []).find((peer) => peer.node === node.node);
  const state = node.report?.state;
  if (state === "up" && seen && seen.state !== "alive") return { word: `up, ${seen.state}`, level: "warn", since: seen.since_seconds };
  if (state) return { word: state, level: state === "up" ? "good" : "bad", since: node.report.uptime_seconds };
  if (seen?.state === "down") return { word: "down", level: "bad", since: seen.since_seconds };
  if (seen?.state === "suspect") return { word: "suspect", level: "warn", since: seen.since_seconds };
  return { word: "no answer", level: "warn", since: undefined };
}

// The members as they are shown: what the ring says of each, and what it says of itself.
export function members(ring, state) {
  const nodes = new Map(state.nodes.map((node) => [node.name, node]));
  const asked = nodes.get(state.asked)?.report;
  return ring.members.map((member) => {
    const node = nodes.get(member.name) ?? { name: member.name, node: member.node };
    const report = node.report;
    const peers = report?.peers ?? [];
    return {
      ...member,
      report,
      error: node.error,
      state: stateOf(node, asked),
      stored: report ? stored(report) : NaN,
      lacking: report?.sync?.lacking ?? NaN,
      pulling: report?.sync?.pulling ?? NaN,
      recovering: report?.sync?.recovering ?? NaN,
      hintBytes: report?.hints?.bytes ?? NaN,
      hints: report?.hints?.partitions ?? NaN,
      peersAlive: peers.filter((peer) => peer.state === "alive").length,
      peers: peers.length,
    };
  });
}

// The time below which `part` of a histogram's counts lie, in microseconds; counts are cumulated, one more than bounds.
export function percentile(bounds, counts, part) {
  const all = counts[counts.length - 1];
  if (!(all > 0)) return NaN;
  const wanted = part * all;
  const at = counts.findIndex((n) => n >= wanted);
  if (at >= bounds.length) return bounds[bounds.length - 1];
  const [low, before] = at === 0 ? [0, 0] : [bounds[at - 1], counts[at - 1]];
  const within = counts[at] - before;
  return low + (bounds[at] - low) * (within > 0 ? (wanted - before) / within : 1);
}

// What was counted between two looks, over all nodes that were there at both; a node that started anew begins at 0.
function between(now, before, read) {
  let total;
  for (const node of now.nodes) {
    const then = before.nodes.find((other) => other.name === node.name);
    const [a, b] = [read(node.report), read(then?.report)];
    if (a === undefined || b === undefined) continue;
    const isNew = node.report.uptime_seconds < then.report.uptime_seconds;
    const grown = [a].flat().map((value, at) => Math.max(0, value - (isNew ? 0 : [b].flat()[at])));
    total = total ? total.map((value, at) => value + grown[at]) : grown;
  }
  return total;
}

// One moment of the charts. `looks`: the last few looks, oldest first. Rates are over the last second; percentiles over all
// of them, since a second has few operations.
export function moment(looks) {
  const [now, before, oldest] = [looks.at(-1), looks.at(-2), looks[0]];
  const reports = now.nodes.map((node) => node.report).filter(Boolean);
  const point = {
    at: now.at_ms,
    lacking: sum(reports.map((report) => report.sync?.lacking)),
    pulling: sum(reports.map((report) => report.sync?.pulling)),
    hintBytes: sum(reports.map((report) => report.hints?.bytes)),
  };
  if (!before) return point;
  const seconds = Math.max(0.05, (now.at_ms - before.at_ms) / 1000);
  const rate = (name) => (between(now, before, (report) => report?.counters?.[name])?.[0] ?? NaN) / seconds;
  Object.assign(point, { puts: rate("puts"), gets: rate("gets"), deletes: rate("deletes"), repairs: rate("repairs") });
  const bounds = reports.find((report) => report.measured?.bounds_us)?.measured.bounds_us;
  const longer = Math.max(0.05, (now.at_ms - oldest.at_ms) / 1000);
  if (bounds) {
    for (const kind of ["put", "get"]) {
      const counts = between(now, oldest, (report) => report?.measured?.operations?.[kind]?.done);
      point[`${kind}50`] = counts ? percentile(bounds, counts, 0.5) : NaN;
      point[`${kind}99`] = counts ? percentile(bounds, counts, 0.99) : NaN;
    }
    const notDone = ["put", "get", "delete"].map((kind) =>
      between(now, oldest, (report) => report?.measured?.operations?.[kind]?.not_done)?.[0]);
    point.notDone = sum(notDone) / longer;
    const siblings = between(now, oldest, (report) => report?.measured?.siblings);
    // Cumulated by 0, 1, 2, 4, 16 values, and all: those beyond 1 have siblings.
    if (siblings) point.siblings = (siblings.at(-1) - siblings[1]) / longer;
  }
  return point;
}

// The busiest partitions of all nodes together.
export function hot(state) {
  const rates = new Map();
  for (const node of state.nodes) {
    for (const { partition, rate } of node.report?.measured?.hot ?? []) {
      rates.set(partition, (rates.get(partition) ?? 0) + rate);
    }
  }
  return [...rates].map(([partition, rate]) => ({ partition, rate })).sort((a, b) => b.rate - a.rate).slice(0, 8);
}

// What a person should look at, in words.
export function remarks(list) {
  const said = [];
  const say = (level, text) => said.push({ level, text });
  for (const { name, state, report, error, recovering, hints, hintBytes } of list) {
    if (!report) say("bad", `${name} ${state.word === "down" ? "is down" : "does not answer"}: ${error ?? "no report"}`);
    else if (report.why) say("bad", `${name} is ${report.state}: ${report.why}`);
    if (report?.damage?.writes_refused) say("bad", `${name}: ${report.damage.writes_refused}`);
    for (const [kind, words] of [["rebuilding", "rebuilt from the other owners"], ["shelved", "damaged, and no other node has them"], ["divergent", "not as others with an equal clock"]]) {
      const copies = report?.damage?.[kind]?.length ?? 0;
      if (copies > 0) say("bad", `${name}: ${plural(copies, "copy", "copies")} ${words}`);
    }
    for (const [counter, words] of [["no_progress", "syncs that went round in circles"], ["content_differs", "copies with equal clocks and different content"], ["scans_differ", "scans that listed something else than their source says of itself"]]) {
      if (report?.counters?.[counter] > 0) say("bad", `${name}: ${report.counters[counter]} ${words}: a bug, please report it`);
    }
    if (hints > 0) say("warn", `${name} holds ${bytes(hintBytes)} of ${plural(hints, "partition")} for owners that are away`);
    if (recovering > 0) say("warn", `${name} recovers what it may have lost of ${plural(recovering, "partition")}`);
  }
  return said;
}

// The partitions that are on their way to other owners.
export const moves = (state) => (Array.isArray(state.transfers) ? state.transfers : []);

// Guests, and changes of ownership that are staged, as the node asked knows of them.
export function toCome(state) {
  const changes = state.nodes.find((node) => node.name === state.asked)?.report?.changes ?? {};
  const guests = (changes.guests ?? []).map((guest) => `${guest.former ? "former member" : "guest"}: ${guest.name} at ${guest.addr}, owns nothing`);
  const moving = moves(state);
  const phases = [...new Set(moving.map((one) => one.phase))].map((phase) => `${moving.filter((one) => one.phase === phase).length} ${phase}`);
  const underWay = moving.length > 0 ? [`${plural(moving.length, "partition")} on the way to other owners: ${phases.join(", ")}`] : [];
  const staged = (changes.changes ?? []).map((change) => `${change.committed ? "committed" : "staged"}: ${change.text}`);
  return [...guests, ...staged, ...underWay].map((text) => ({ level: "warn", text }));
}
