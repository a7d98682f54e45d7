// A graph from left to right: boxes in columns, lines between them. Knows nothing of what the boxes mean.

import { draw, make } from "./dom.js";

// Nodes are elements by name, edges are [from, to]; each box stands right of all that lead to it.
export class Graph {
  constructor(element, nodes, edges) {
    this.nodes = nodes;
    this.plane = make("div", { class: "plane" });
    this.svg = draw("svg", { class: "lines", "aria-hidden": "true" });
    this.edges = edges.map(([from, to]) => ({ from, to, line: draw("path") }));
    this.svg.append(...this.edges.map((edge) => edge.line));
    const layers = columns([...nodes.keys()], edges);
    this.plane.append(this.svg, ...layers.map((names) => make("div", { class: "layer" }, ...names.map((name) => nodes.get(name)))));
    element.append(this.plane);
    new ResizeObserver(() => this.route()).observe(this.plane);
  }

  // Lines from box to box, as these lie at the moment.
  route() {
    const origin = this.plane.getBoundingClientRect();
    this.svg.setAttribute("width", this.plane.offsetWidth);
    this.svg.setAttribute("height", this.plane.offsetHeight);
    for (const { from, to, line } of this.edges) {
      const [a, b] = [this.nodes.get(from), this.nodes.get(to)].map((node) => node.getBoundingClientRect());
      const hidden = a.width === 0 || b.width === 0;
      const [x1, y1] = [a.right - origin.left, (a.top + a.bottom) / 2 - origin.top];
      const [x2, y2] = [b.left - origin.left, (b.top + b.bottom) / 2 - origin.top];
      const bend = Math.max(12, (x2 - x1) / 2);
      const path = [x1, y1, "C", x1 + bend, y1, x2 - bend, y2, x2, y2].map((it) => (typeof it === "number" ? it.toFixed(1) : it));
      if (hidden) line.removeAttribute("d");
      else line.setAttribute("d", `M${path.join(" ")}`);
    }
  }

  // Marks the lines from or to a box.
  mark(name, kind) {
    for (const { from, to, line } of this.edges) {
      if (from === name || to === name) line.setAttribute("class", kind);
    }
  }
}

// Names by columns: one right of the furthest that leads to it. Lines in a circle end after as many steps as there are names.
function columns(names, edges) {
  const depth = new Map(names.map((name) => [name, 0]));
  for (let step = 0; step < names.length; step += 1) {
    let moved = false;
    for (const [from, to] of edges) {
      if (depth.get(to) <= depth.get(from) && depth.get(from) < names.length) {
        depth.set(to, depth.get(from) + 1);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const used = [...new Set(depth.values())].sort((a, b) => a - b);
  return used.map((at) => names.filter((name) => depth.get(name) === at));
}
