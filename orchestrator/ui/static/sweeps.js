// All sweeps: where each of them stands, now.

import { ask, poll } from "./api.js";
import { address } from "./api.js";
import { el, link, many, problem } from "./dom.js";

export async function showSweeps({ page, title, onLeave, isLeft }) {
  title("sweeps");
  const chosen = new Set();
  const compare = link("/compare", { class: "button", "aria-disabled": "true" }, "Compare");
  const field = el("input", { type: "search", placeholder: "filter by name, kind or folder", "aria-label": "filter" });
  const list = el("div", { class: "list" });
  page.append(el("div", { class: "bar" }, el("h1", {}, "Sweeps"), field, compare), list);
  let last = null;

  function draw() {
    const words = field.value.toLowerCase();
    const some = last.sweeps.filter((s) => `${s.name} ${s.kind} ${s.where}`.toLowerCase().includes(words));
    list.replaceChildren(...(some.length ? some.map((s) => line(s, chosen, follow)) : [empty(last)]));
  }
  function follow() {
    compare.setAttribute("href", address("/compare", { id: [...chosen] }));
    compare.setAttribute("aria-disabled", String(chosen.size < 2));
    compare.textContent = chosen.size ? `Compare ${chosen.size}` : "Compare";
  }
  async function look() {
    const now = await ask("/api/sweeps");
    if (isLeft()) return false;
    last = now;
    draw();
    return now.sweeps.some((s) => s.running);
  }
  field.addEventListener("input", draw);
  await look();
  onLeave(poll(look));
}

function empty(last) {
  const where = last.named.join(", ");
  return el("p", { class: "faint" }, last.sweeps.length ? "No sweep fits." : `There are no sweeps in ${where} yet.`);
}

function line(sweep, chosen, follow) {
  if (sweep.problem) {
    return el("section", { class: "card broken" }, el("p", { class: "where" }, sweep.where), problem(sweep.problem));
  }
  const mark = el("input", { type: "checkbox", "aria-label": `choose ${sweep.name}`, checked: chosen.has(sweep.id) });
  mark.addEventListener("change", () => {
    if (mark.checked) chosen.add(sweep.id);
    else chosen.delete(sweep.id);
    follow();
  });
  return el(
    "section",
    { class: "card" },
    el("div", { class: "head" }, mark, link(`/sweep/${sweep.id}`, { class: "name" }, sweep.name),
      el("span", { class: "faint" }, sweep.kind), badge(sweep)),
    progressBar(sweep),
    el("p", { class: "where" }, sweep.where),
  );
}

/** The state of a sweep in a word. */
export function badge(sweep) {
  const dead = !sweep.running && !["done", "stopped"].includes(sweep.phase);
  const word = dead && sweep.done > 0 ? "interrupted" : sweep.phase;
  const kind = sweep.running ? "running" : sweep.phase === "done" ? "done" : "stopped";
  return el("span", { class: `badge ${kind}` }, word);
}

/** How far it is, with time left, speed, and what did not end well. */
export function progressBar(sweep) {
  const share = sweep.total ? Math.min(1, sweep.done / sweep.total) : sweep.phase === "done" ? 1 : 0;
  const bar = el("div", {
    class: "progress", role: "progressbar", "aria-valuenow": Math.round(share * 100), "aria-valuemin": 0,
    "aria-valuemax": 100, "aria-label": "units done",
  });
  bar.append(el("div", { class: sweep.running ? "part running" : "part", style: { width: `${100 * share}%` } }));
  const parts = [`${many(sweep.done)} of ${many(sweep.total)} units`];
  if (sweep.running) parts.push(`${sweep.rate.toFixed(1)} units/s`, `${sweep.workers} workers`);
  if (sweep.left) parts.push(`${sweep.left} left`);
  else if (sweep.elapsed) parts.push(`${sweep.elapsed} in its last run`);
  if (sweep.note) parts.push(sweep.note);
  const bad = Object.entries(sweep.counts).filter(([name, count]) => name !== "ok" && count);
  return el("div", { class: "state" }, bar, el("p", { class: "faint" }, parts.join(" · "),
    bad.map(([name, count]) => [" · ", el("b", { class: `status ${name}` }, `${many(count)} ${name}`)])));
}
