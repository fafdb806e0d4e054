// Lines over time. What a line says last is beside its name in words; the drawing itself is for the eye only.

import { el, say, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 100];

// The least of 1, 2, 5, 10, … that is not below the value.
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= value) ?? value;
}

// `lines`: [field, name]; `format`: a figure in words; `least`: what the scale reaches at least.
export function chart(title, lines, format, least) {
  const values = lines.map(() => el("b", {}, "–"));
  const paths = lines.map((_, at) => svg("path", { class: `line l${at}` }));
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    [0, 0.5, 1].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: part * HEIGHT, y2: part * HEIGHT })), paths);
  const top = el("span", { class: "scale" });
  const begin = el("span");
  const figure = el("figure", { class: "chart" },
    el("figcaption", {},
      el("h3", {}, title),
      el("ul", {}, lines.map(([, name], at) => el("li", {}, el("span", { class: `key l${at}`, "aria-hidden": "true" }), `${name} `, values[at])))),
    el("div", { class: "plot", "aria-hidden": "true" }, top, drawing),
    el("div", { class: "times faint", "aria-hidden": "true" }, begin, el("span", {}, "now")));

  // `points`: oldest first; `from` and `to`: the times at the left and the right end, in milliseconds.
  function show(points, from, to) {
    const all = points.flatMap((point) => lines.map(([field]) => point[field])).filter(Number.isFinite);
    const most = nice(Math.max(least, ...all));
    say(top, format(most));
    say(begin, `−${Math.round((to - from) / 1000)} s`);
    lines.forEach(([field], at) => {
      let path = "";
      let isDown = false;
      for (const point of points) {
        const value = point[field];
        if (!Number.isFinite(value)) {
          isDown = false;
          continue;
        }
        const x = (WIDTH * (point.at - from)) / (to - from);
        path += `${isDown ? "L" : "M"}${x.toFixed(1)} ${(HEIGHT * (1 - value / most)).toFixed(1)}`;
        isDown = true;
      }
      paths[at].setAttribute("d", path);
      say(values[at], format(points.at(-1)?.[field]));
    });
  }
  return { figure, show };
}
