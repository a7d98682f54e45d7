// Pipelines as graphs: the streams that each stage reads, how it does, and what comes of it.

import { count, make, since, text } from "./dom.js";
import { Graph } from "./graph.js";

const graphs = new WeakMap();

export function pipelines(element, list, now) {
  const shape = JSON.stringify(list.map((it) => [it.name, it.version, it.stages.map((s) => [s.name, s.sources, s.view, s.output, s.dead])]));
  if (element.dataset.shape !== shape) {
    element.dataset.shape = shape;
    element.replaceChildren(...(list.length ? list.map(pipeline) : [make("p", { class: "empty" }, "No peer holds the code of a pipeline yet.")]));
  }
  list.forEach((it, at) => update(element.children[at], it, now));
}

function pipeline(it) {
  const title = make("h3", {}, it.name, make("small", {}, ` v${it.version}`), make("span", { class: "tag" }));
  const element = make("div", { class: "pipe" }, title);
  const nodes = new Map();
  const edges = [];
  const stream = (name) => {
    if (!nodes.has(`stream ${name}`)) nodes.set(`stream ${name}`, make("span", { class: "chip" }, name));
    return `stream ${name}`;
  };
  for (const stage of it.stages) {
    for (const source of stage.sources) edges.push([stream(source), `stage ${stage.name}`]);
    nodes.set(`stage ${stage.name}`, box(stage));
    if (stage.view) {
      nodes.set(`view ${stage.view}`, make("span", { class: "chip view" }, `view ${stage.view}`));
      edges.push([`stage ${stage.name}`, `view ${stage.view}`]);
    }
    if (stage.output) edges.push([`stage ${stage.name}`, stream(stage.output)]);
    if (stage.dead) {
      nodes.set(`dead ${stage.name}`, make("span", { class: "chip dead", hidden: "" }));
      edges.push([`stage ${stage.name}`, `dead ${stage.name}`]);
    }
  }
  graphs.set(element, new Graph(element, nodes, edges));
  return element;
}

function box(it) {
  const numbers = ["rate", "backlog", "watermark", "tasks"].map((name) => make("span", { class: name }, make("b"), ""));
  return make("div", { class: "box" }, make("b", {}, it.name), ...numbers);
}

function update(element, it, now) {
  const graph = graphs.get(element);
  if (!graph) return;
  const tag = element.querySelector(".tag");
  tag.className = `tag ${it.state === "running" ? "good" : "bad"}`;
  text(tag, it.state);
  for (const stage of it.stages) {
    const box = graph.nodes.get(`stage ${stage.name}`);
    box.className = `box ${stage.parked.length ? "parked" : stage.backlog > 10_000 || stage.running < stage.buckets ? "busy" : ""}`;
    const put = (name, value, words) => {
      const span = box.querySelector(`.${name}`);
      text(span.firstChild, value);
      if (span.lastChild.textContent !== words) span.lastChild.textContent = words;
    };
    put("rate", count(stage.per_s), " events/s");
    put("backlog", count(stage.backlog), " behind");
    const [mark, words] = watermark(stage.watermark_ms, now);
    put("watermark", mark, words);
    const parked = stage.parked.length ? `, parked: ${stage.parked.join(", ")}` : "";
    put("tasks", `${stage.running} of ${stage.buckets}`, ` tasks run${parked}${stage.restarts ? `, ${stage.restarts} restarts` : ""}`);
    graph.mark(`stage ${stage.name}`, stage.parked.length ? "parked" : stage.per_s > 0 ? "flows" : "");
    const dead = graph.nodes.get(`dead ${stage.name}`);
    if (!dead) continue;
    dead.hidden = stage.dead_events === 0;
    text(dead, `${count(stage.dead_events)} dead letters in ${stage.dead}`);
  }
  graph.route();
}

// None before the first event of its sources; else its age, or the day for those that replay the past.
function watermark(mark, now) {
  if (mark === null) return ["no", " watermark yet"];
  if (Math.abs(now - mark) < 864e5) return [since(mark, now), " old watermark"];
  return [new Date(mark).toISOString().slice(0, 16).replace("T", " "), " watermark"];
}
