// Lines over the last two minutes, drawn as SVG.

import { clock, draw, make } from "./dom.js";

const HEIGHT = 160, LEFT = 44, BOTTOM = 18;
const SPAN_MS = 120_000;

export class Chart {
  constructor(element, lines, show) {
    this.lines = lines;
    this.show = show;
    this.svg = draw("svg", { viewBox: `0 0 560 ${HEIGHT}`, role: "img" });
    this.grid = draw("g");
    this.paths = lines.map((line) => draw("path", { class: line.dash ? "dash" : null }));
    this.paths.forEach((path, at) => (path.style.stroke = `var(${lines[at].colour})`));
    this.svg.append(this.grid, ...this.paths);
    this.values = lines.map(() => make("b", {}, "–"));
    const items = lines.map((line, at) => {
      const mark = make("i", { class: line.dash ? "dash" : null });
      mark.style.borderColor = `var(${line.colour})`;
      return make("li", {}, mark, `${line.name} `, this.values[at]);
    });
    element.append(this.svg, make("ul", { class: "legend" }, ...items));
  }

  draw(moments) {
    if (moments.length === 0) return;
    const width = this.svg.clientWidth || 560;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const end = moments[moments.length - 1].at_ms;
    const shown = moments.filter((it) => it.at_ms > end - SPAN_MS);
    const all = shown.flatMap((it) => this.lines.map((line) => line.of(it.rates) ?? 0));
    const top = ceiling(Math.max(...all));
    const x = (at) => LEFT + (1 - (end - at) / SPAN_MS) * (width - LEFT);
    const y = (value) => (1 - value / top) * (HEIGHT - BOTTOM - 8) + 8;
    this.lines.forEach((line, index) => {
      let path = "", pen = "M";
      for (const moment of shown) {
        const value = line.of(moment.rates);
        if (value === null || value === undefined) pen = "M";
        else [path, pen] = [`${path}${pen}${x(moment.at_ms).toFixed(1)} ${y(value).toFixed(1)}`, "L"];
      }
      this.paths[index].setAttribute("d", path);
      this.values[index].textContent = this.show(line.of(moments[moments.length - 1].rates));
    });
    const marks = [0, top / 2, top].flatMap((value) => [
      draw("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
      draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, label(value)),
    ]);
    const times = [end - SPAN_MS, end - SPAN_MS / 2, end].map((at, index) =>
      draw("text", { x: x(at), y: HEIGHT - 2, "text-anchor": ["start", "middle", "end"][index] }, clock(at)));
    this.grid.replaceChildren(...marks, ...times);
    const words = this.lines.map((line, at) => `${line.name} ${this.values[at].textContent}`);
    this.svg.setAttribute("aria-label", `The last two minutes; now ${words.join(", ")}`);
  }
}

// The next round number: 1, 2 or 5 and zeros.
function ceiling(value) {
  if (!(value > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * ten).find((step) => step >= value);
}

function label(value) {
  if (value >= 1e6) return `${value / 1e6}M`;
  if (value >= 1e3) return `${value / 1e3}k`;
  return String(Number(value.toFixed(2)));
}
