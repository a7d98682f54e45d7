// Shows /openapi.json: every operation, what it takes and gives, and lets a GET be tried.

import { $, make, text } from "./dom.js";

document.documentElement.dataset.theme = localStorage.getItem("theme")
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

const paper = await (await fetch("/openapi.json")).json();
text($("about"), `${paper.info.title} ${paper.info.version}. ${paper.info.description}`);

const tags = new Map();
for (const [path, item] of Object.entries(paper.paths)) {
  for (const [method, operation] of Object.entries(item)) {
    const tag = operation.tags?.[0] ?? "other";
    tags.set(tag, [...(tags.get(tag) ?? []), { path, method, operation }]);
  }
}
for (const [tag, list] of tags) {
  $("tags").append(make("a", { href: `#${tag}` }, tag));
  $("operations").append(make("section", { class: "card api", id: tag }, make("h2", {}, tag), ...list.map(show)));
}

function show({ path, method, operation }) {
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const content = Object.entries(answer.content ?? {})[0];
    return make("tr", {}, make("td", { class: "n" }, status), make("td", {}, answer.description ?? ""),
      make("td", { class: "mono" }, content ? `${content[0]}: ${form(content[1].schema)}` : ""));
  });
  const takes = operation.requestBody?.content?.["application/json"]?.schema;
  return make("details", {},
    make("summary", {}, make("b", { class: `verb ${method}` }, method.toUpperCase()), make("code", {}, ` ${path} `), operation.summary ?? ""),
    ...(takes ? [make("p", { class: "mono" }, `takes ${form(takes)}`)] : []),
    make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...answers))),
    ...(method === "get" && !/watch|tail/.test(path) ? [attempt(path, operation)] : []));
}

function attempt(path, operation) {
  const parameters = operation.parameters ?? [];
  const fields = parameters.map((it) => make("label", {}, `${it.name}${it.required ? "" : " (optional)"}`,
    make("input", { name: it.name, autocomplete: "off" })));
  const answer = make("pre", { class: "mono scroll", hidden: "" });
  const form = make("form", {}, ...fields, make("button", { type: "submit" }, "Try"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = new FormData(form);
    let url = path;
    const query = new URLSearchParams();
    for (const it of parameters) {
      const value = given.get(it.name);
      if (it.in === "path") url = url.replace(`{${it.name}}`, encodeURIComponent(value));
      else if (value && it.in === "query") query.set(it.name, value);
    }
    const response = await fetch(query.size ? `${url}?${query}` : url);
    answer.hidden = false;
    text(answer, `${response.status}\n${JSON.stringify(await response.json(), null, 2)}`);
  });
  return make("div", {}, form, answer);
}

// A schema in a line: names of fields with their types.
function form(schema, depth = 0) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return depth > 1 ? name : form(paper.components.schemas[name], depth + 1);
  }
  if (schema.oneOf) return schema.oneOf.map((it) => form(it, depth)).join(" or ");
  if (schema.enum) return schema.enum.map((it) => JSON.stringify(it)).join(" | ");
  if (schema.properties) {
    const fields = Object.entries(schema.properties).map(([name, it]) =>
      `${name}${schema.required?.includes(name) ? "" : "?"}: ${form(it, depth + 1)}`);
    return `{ ${fields.join(", ")} }`;
  }
  if (schema.items) return `[${form(schema.items, depth)}]`;
  return [schema.type ?? "any"].flat().join(" | ");
}
