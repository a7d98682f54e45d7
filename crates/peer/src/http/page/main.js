// The dashboard: one message a second from the peer that served this page tells of the whole mesh.

import { Chart } from "./chart.js";
import { $, Table, bytes, clock, count, make, ms, since, text } from "./dom.js";
import { pipelines } from "./pipelines.js";
import { Ring } from "./ring.js";
import { answers } from "./views.js";

const HISTORY = 120;
const LATE_MS = 2500;
const COLOURS = Array.from({ length: 8 }, (_, at) => `--p${at}`);

let history = [];
let heard = performance.now();

const rates = new Chart($("rate-chart"), [
  { name: "in", colour: "--p0", of: (it) => it.in_per_s },
  { name: "out", colour: "--p1", of: (it) => it.out_per_s },
  { name: "refused", colour: "--bad", dash: true, of: (it) => it.refused_per_s },
], count);
const times = new Chart($("time-chart"), [
  { name: "acknowledged p50", colour: "--p0", of: (it) => it.append.p50_ms },
  { name: "p99", colour: "--p0", dash: true, of: (it) => it.append.p99_ms },
  { name: "in the view p50", colour: "--p2", of: (it) => it.event.p50_ms },
  { name: "p99", colour: "--p2", dash: true, of: (it) => it.event.p99_ms },
], ms);
const ring = new Ring($("ring"), $("shard"));

const peers = new Table($("peer-table"), "Peers of the mesh", [
  { head: "Peer", fill: peer },
  { head: "State", label: "state", fill: (cell, it) => {
    const words = it.state === "gone" ? "gone" : it.answers ? it.state : "silent";
    cell.className = "state";
    text(cell, words);
  } },
  { head: "Zone", label: "zone", cell: (it) => it.zone || "–" },
  { head: "Leads", label: "leads", n: true, cell: (it) => `${it.leads} / ${it.replicas}` },
  { head: "In/s", label: "in/s", n: true, cell: (it) => count(it.load?.in_per_s) },
  { head: "CPU", label: "cpu", n: true, cell: (it) => (it.load ? `${Math.round(it.load.cpu * 100)} %` : "–") },
  { head: "Behind", label: "behind", n: true, cell: (it) => count(it.load?.behind) },
  { head: "Memory", label: "memory", n: true, cell: (it) => bytes(it.load?.memory) },
  { head: "Sync p99", label: "sync p99", n: true, cell: (it) => ms(it.load?.sync_p99_ms) },
  { head: "Disk free", label: "disk free", n: true, cell: (it) => (it.load?.disk_full ? "full" : bytes(it.load?.disk_free)) },
  { head: "Up", label: "up", n: true, cell: (it) => (it.load ? since(0, it.load.up_s * 1000) : "–") },
  { head: "Version", label: "version", n: true, cell: (it) => it.version },
], "Nobody is in the roster yet.");
const streams = new Table($("stream-table"), "Streams", [
  { head: "Stream", mono: true, cell: (it) => it.name },
  { head: "Partitions", n: true, cell: (it) => String(it.partitions) },
  { head: "Events", n: true, cell: (it) => count(it.events) },
  { head: "Kept", n: true, cell: (it) => count(it.kept) },
  { head: "A second", n: true, cell: (it) => count(it.per_s) },
  { head: "Written by", cell: (it) => it.written_by ?? "clients" },
], "There is no stream yet: shoal stream create words");
const groups = new Table($("group-table"), "Groups of consumers", [
  { head: "Group", mono: true, cell: (it) => it.name },
  { head: "Consumers", n: true, cell: (it) => String(it.consumers) },
  { head: "Lag", n: true, cell: (it) => count(it.lag) },
  { head: "Generation", n: true, cell: (it) => String(it.generation) },
  { head: "Streams", cell: (it) => it.streams.join(", ") || "–" },
], "No group has read or joined yet.");

function peer(cell, it) {
  if (!cell.firstChild) {
    cell.append(make("i", { class: "dot" }), " ", make("i", { class: "swatch" }), make("a", {}), make("span", { class: "note" }));
  }
  const [, , swatch, link, note] = cell.childNodes;
  swatch.style.background = `var(${it.colour})`;
  text(link, it.name);
  const href = `http://${it.http}/`;
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  text(note, it.note);
}

function tile(id, words) {
  const element = make("div", { class: "tile", id }, make("b", {}, "–"), make("span", {}, words));
  $("tiles").append(element);
  return (value, kind = "") => {
    text(element.firstChild, value);
    element.className = `tile ${kind}`;
  };
}
const tiles = {
  in: tile("tile-in", "events in a second"),
  out: tile("tile-out", "events out a second"),
  append: tile("tile-append", "acknowledged, p99"),
  event: tile("tile-event", "in the view, p99"),
  peers: tile("tile-peers", "peers alive"),
  shards: tile("tile-shards", "shards led"),
};

function show(it) {
  if (it.history) history = it.history;
  else history.push({ at_ms: it.at_ms, rates: it.rates });
  history = history.slice(-HISTORY);
  it.peers.forEach((peer, at) => (peer.colour = COLOURS[at % COLOURS.length]));
  const byId = new Map(it.peers.map((peer) => [peer.id, peer]));
  verdict(it.health);
  tiles.in(count(it.rates.in_per_s));
  tiles.out(count(it.rates.out_per_s));
  tiles.append(ms(it.rates.append.p99_ms));
  tiles.event(ms(it.rates.event.p99_ms));
  const alive = it.peers.filter((peer) => peer.state === "alive").length;
  tiles.peers(`${alive} of ${it.peers.length}`, alive < it.peers.length ? "bad" : "");
  const { led, total, under_replicated: under } = it.health.shards;
  tiles.shards(`${led} of ${total}`, led < total ? "bad" : under > 0 ? "warn" : "");
  rates.draw(history);
  times.draw(history);
  peers.show(it.peers, (peer) => peer.id, (peer) => peer.state);
  text($("ring-note"), `epoch ${it.epoch}, ${it.replication} copies`);
  ring.show(it.ring, byId, it.replication);
  pipelines($("pipeline-list"), it.pipelines, it.at_ms);
  streams.show(it.streams, (stream) => stream.name);
  groups.show(it.groups, (group) => group.name);
  answers.offer(it.views);
  recent(it.recent, byId);
  const me = byId.get(it.me);
  text($("who"), `Seen by ${me?.name ?? it.me}, mesh ${it.mesh.slice(0, 8)}, shoal ${me?.version ?? ""}`);
}

function verdict(health) {
  const works = health.shards.led === health.shards.total;
  $("verdict").className = health.healthy ? "good" : works ? "warn" : "bad";
  text($("sentence"), capital(health.healthy ? health.verdict : health.verdict.split(":")[0].replace(", but", ", but not all is well")));
  document.title = `${health.healthy ? "✓" : "!"} shoal`;
  const wanted = health.reasons.map(capital);
  const list = $("reasons");
  if ([...list.children].map((it) => it.textContent).join("|") !== wanted.join("|")) {
    list.replaceChildren(...wanted.map((words) => make("li", {}, words)));
  }
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function recent(list, byId) {
  const element = $("recent-list");
  const shape = list.map((it) => `${it.peer}/${it.number}/${it.at_ms}`).join();
  if (element.dataset.shape === shape) return;
  element.dataset.shape = shape;
  element.replaceChildren(...list.map((it) => make("li", { class: it.kind },
    make("time", { datetime: new Date(it.at_ms).toISOString() }, clock(it.at_ms)),
    make("span", {}, byId.get(it.peer)?.name ?? `p${it.peer}`), make("span", {}, it.text))));
}

function pulse() {
  const quiet = performance.now() - heard;
  const late = quiet > LATE_MS;
  $("pulse").className = late ? "late" : "live";
  text($("pulse").lastChild, late ? `no word for ${Math.round(quiet / 1000)} s` : "live");
  if (late) {
    $("verdict").className = "bad";
    text($("sentence"), "The peer that served this page does not answer");
  }
}

function theme(wanted) {
  document.documentElement.dataset.theme = wanted;
}
const dark = matchMedia("(prefers-color-scheme: dark)");
const chosen = localStorage.getItem("theme");
theme(chosen ?? (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => {
  const wanted = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", wanted);
  theme(wanted);
});

const source = new EventSource("/v1/overview/watch");
source.addEventListener("message", (event) => {
  heard = performance.now();
  show(JSON.parse(event.data));
});
setInterval(pulse, 500);
