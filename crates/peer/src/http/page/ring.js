// The ring: a slice a shard, coloured by who leads it; the rim shows what moves and what lacks copies.

import { draw, text } from "./dom.js";

const R = 110, INNER = 74, EDGE = 116, MIDDLE = 125;

export class Ring {
  constructor(element, detail) {
    this.detail = detail;
    this.chosen = null;
    this.slices = [];
    this.svg = draw("svg", { viewBox: "0 0 250 250", tabindex: "0", role: "listbox", "aria-label": "Shards of the ring" });
    this.number = draw("text", { x: MIDDLE, y: MIDDLE + 2 });
    this.word = draw("text", { x: MIDDLE, y: MIDDLE + 20, class: "sub" });
    this.group = draw("g");
    this.svg.append(this.group, this.number, this.word);
    this.svg.addEventListener("keydown", (event) => this.key(event));
    element.append(this.svg);
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || this.rows.length === 0) return;
    event.preventDefault();
    const count = this.rows.length;
    this.choose(((this.chosen ?? (step > 0 ? -1 : 0)) + step + count) % count);
  }

  choose(shard) {
    this.chosen = shard;
    this.tell();
  }

  show(rows, peers, replication) {
    [this.rows, this.peers] = [rows, peers];
    if (this.slices.length !== rows.length) this.build(rows.length);
    const wanted = Math.min(replication, peers.size);
    let led = 0;
    rows.forEach((row, at) => {
      const { slice, edge } = this.slices[at];
      const leader = peers.get(row.leader);
      if (leader) led += 1;
      slice.setAttribute("class", leader ? "shard" : "shard none");
      slice.style.fill = leader ? `var(${leader.colour})` : "";
      // Of two peers one votes and the other learns.
      const copies = row.target.length === 2 && row.voters.length === 1 ? [...row.voters, ...row.learners] : row.voters;
      const moves = (copies === row.voters && row.learners.length > 0)
        || copies.some((id) => !row.target.includes(id)) || row.target.some((id) => !copies.includes(id));
      const live = row.voters.filter((id) => peers.get(id)?.state !== "gone").length;
      edge.setAttribute("class", live < wanted ? "edge few" : moves ? "edge move" : "edge");
    });
    text(this.number, `${led} of ${rows.length}`);
    text(this.word, "shards have a leader");
    this.tell();
  }

  build(count) {
    this.slices = Array.from({ length: count }, (_, at) => {
      const [from, to] = [at / count, (at + 1) / count].map((part) => part * 2 * Math.PI - Math.PI / 2);
      const slice = draw("path", { d: wedge(from, to), class: "shard", role: "option", "aria-label": `shard ${at}` });
      slice.addEventListener("pointerenter", () => this.choose(at));
      return { slice, edge: draw("path", { d: arc(from + 0.01, to - 0.01), class: "edge" }) };
    });
    this.group.replaceChildren(...this.slices.flatMap((it) => [it.slice, it.edge]));
  }

  tell() {
    this.slices.forEach(({ slice }, at) => slice.classList.toggle("on", at === this.chosen));
    const row = this.rows?.[this.chosen];
    if (!row) return;
    const name = (id) => this.peers.get(id)?.name ?? `p${id}`;
    const names = (ids) => ids.map(name).join(", ") || "nobody";
    const learners = row.learners.length ? `; copying to ${names(row.learners)}` : "";
    const goal = row.target.join() === [...row.voters].join() || same(row.target, row.voters)
      ? "" : `; the ring wants ${names(row.target)}`;
    text(this.detail, `Shard ${row.shard}: led by ${row.leader === null ? "nobody" : name(row.leader)} in term ${row.term}, `
      + `voters ${names(row.voters)}${learners}${goal}.`);
  }
}

const same = (a, b) => a.length === b.length && a.every((id) => b.includes(id));
const point = (angle, radius) => `${(MIDDLE + Math.cos(angle) * radius).toFixed(2)} ${(MIDDLE + Math.sin(angle) * radius).toFixed(2)}`;
const wedge = (from, to) => `M${point(from, R)}A${R} ${R} 0 0 1 ${point(to, R)}L${point(to, INNER)}A${INNER} ${INNER} 0 0 0 ${point(from, INNER)}Z`;
const arc = (from, to) => `M${point(from, EDGE)}A${EDGE} ${EDGE} 0 0 1 ${point(to, EDGE)}`;
