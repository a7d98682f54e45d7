// Asks a view for a row or a page of rows, when told to.

import { $, make, text } from "./dom.js";

const ROWS = 50;

class Answers {
  constructor() {
    this.form = $("ask");
    this.known = "";
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(new FormData(this.form));
    });
    this.offer([]);
  }

  offer(views) {
    const known = views.map((it) => it.name).join();
    if (known === this.known && this.form.elements.view.options.length) return;
    this.known = known;
    const chosen = this.form.elements.view.value;
    const options = views.map((it) => make("option", { value: it.name }, it.name));
    this.form.elements.view.replaceChildren(...options);
    if (views.some((it) => it.name === chosen)) this.form.elements.view.value = chosen;
    this.form.querySelector("button").disabled = views.length === 0;
    if (views.length === 0) this.show(make("p", { class: "empty" }, "No pipeline keeps a view yet."));
    else if (!this.asked) this.show(make("p", { class: "empty" }, "Name a key, or leave it empty for the first rows."));
  }

  async ask(wanted) {
    this.asked = true;
    const view = encodeURIComponent(wanted.get("view"));
    const key = wanted.get("key");
    const consistency = wanted.get("consistency");
    const path = key
      ? `/v1/views/${view}/rows/${encodeURIComponent(key)}?consistency=${consistency}`
      : `/v1/views/${view}/rows?limit=${ROWS}&consistency=${consistency}`;
    try {
      const response = await fetch(path);
      const body = await response.json();
      if (!response.ok) this.show(problem(body));
      else this.show(...(key ? row(body) : rows(body)));
    } catch (error) {
      this.show(problem({ detail: "The peer did not answer.", because: String(error), try: "ask again" }));
    }
  }

  show(...parts) {
    $("answer").replaceChildren(...parts);
  }
}

function row(body) {
  const words = `from p${body.peer} at index ${body.position.index} of shard ${body.shard} (term ${body.term}), `
    + `${body.age_ms} ms old${body.stale ? ", age unknown" : ""}`;
  return [make("p", { class: "mono" }, plain(body.value)), make("p", { class: "quiet" }, words)];
}

function rows(body) {
  const lines = body.rows.map((it) =>
    make("tr", {}, make("td", { class: "mono" }, plain(it.key)), make("td", { class: "mono" }, plain(it.value))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Key"), make("th", { scope: "col" }, "Value"))),
    make("tbody", {}, ...lines));
  const oldest = Math.max(0, ...body.shards.map((it) => it.age_ms));
  const note = make("p", { class: "quiet" });
  text(note, `${body.rows.length} rows${body.more ? ", and more" : ""}; ${body.shards.length} shards, the oldest answer ${oldest} ms old`);
  return [table, note];
}

function problem(body) {
  const line = (name, words) => (words ? [make("p", {}, make("small", {}, `${name} `), words)] : []);
  return make("div", { class: "problem" }, make("p", {}, make("b", {}, body.detail ?? "Refused"), body.code ? make("small", {}, ` ${body.code}`) : null),
    ...line("because", body.because), ...line("try", body.try));
}

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export const answers = new Answers();
