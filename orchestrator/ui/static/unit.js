// One unit: what it was, what came of it, its curves, what it printed, and how to compute it again.

import { address, ask, of } from "./api.js";
import { command, el, link, pairs, shown } from "./dom.js";
import { isLog, plain, plot } from "./plots.js";

export async function showUnit({ page, title, isLeft }, id, key) {
  title(key.slice(0, 12), link(`/sweep/${id}`, {}, "sweep"), el("span", {}, key.slice(0, 12)));
  const [about, unit] = await Promise.all([ask(of(id)), ask(of(id, "units", key))]);
  if (isLeft()) return;
  title(key.slice(0, 12), link(`/sweep/${id}`, {}, about.name), el("span", {}, key.slice(0, 12)));
  const described = await ask(of(id, "columns"));
  if (isLeft()) return;
  const status = shown(unit.values.status);
  page.append(el("div", { class: "bar" }, el("h1", { class: "key" }, unit.key), el("span", { class: `status ${status}` }, status)));
  const values = (role) => described.columns
    .filter((c) => c.role === role && c.name in unit.values && unit.values[c.name] !== null)
    .map((c) => [el("span", { title: c.doc }, c.shown, c.unit && el("span", { class: "faint" }, ` [${c.unit}]`)), measured(c, unit.values[c.name])]);
  page.append(section("Params", pairs(values("param"))));
  if (unit.error) page.append(section("What happened", el("pre", { class: "error" }, unit.error)));
  if (values("metric").length) page.append(section("Metrics", pairs(values("metric"))));
  const host = el("div", { class: "panels" });
  page.append(host);
  page.append(section("Commands", Object.entries(unit.commands).map(([what, words]) => [el("p", { class: "faint" }, what), command(words)])));
  page.append(section("Log", unit.log.text
    ? [el("pre", { class: "log" }, unit.log.text), el("p", { class: "files" }, el("a", { href: of(id, "units", key, "log") }, "whole log"))]
    : el("p", { class: "faint" }, unit.log.note)));
  page.append(section("Meters", pairs(values("meter").filter(([name]) => name.textContent !== "status"))));
  await drawCurves(host, id, key, isLeft);
}

function section(name, ...children) {
  return el("section", {}, el("h2", {}, name), ...children);
}

function measured(column, value) {
  if (column.name !== "ended" || typeof value !== "number") return shown(value);
  return `${new Date(value * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

async function drawCurves(host, id, key, isLeft) {
  const first = await ask(of(id, "units", key, "curves"));
  if (isLeft()) return;
  const heading = el("h2", { hidden: true }, "Curves");
  host.before(heading);
  for (const metric of first.metrics.slice(0, 12)) {
    const answer = metric.name === first.metric ? first : await ask(address(of(id, "units", key, "curves"), { metric: metric.name }));
    if (isLeft()) return;
    if (!answer.lines.length) continue;
    heading.hidden = false;
    const panel = el("div", { class: "plot" });
    host.append(panel);
    const { steps, values } = answer.lines[0];
    const trace = { x: steps, y: values, mode: steps.length < 60 ? "lines+markers" : "lines", type: "scatter", marker: { size: 4 } };
    const layout = { height: 260, xaxis: { title: { text: "step" } }, yaxis: { title: { text: plain(metric.shown) }, type: isLog(values) ? "log" : "linear" } };
    await plot(panel, [trace], layout, `${key.slice(0, 12)}-${metric.shown}`);
  }
}
