// Sweeps side by side: their metrics, one metric of all of them, and how their specs differ.

import { ask, of } from "./api.js";
import { el, link, many, shown } from "./dom.js";
import { colour, isLog, plain, plot } from "./plots.js";
import { State } from "./view.js";
import { progressBar } from "./sweeps.js";

export async function showCompare({ page, title, isLeft }) {
  title("compare", el("span", {}, "compare"));
  const state = new State();
  const ids = state.all("id");
  if (!ids.length) {
    page.append(el("p", {}, "Choose two sweeps or more in the ", link("/", {}, "list of all sweeps"), "."));
    return;
  }
  const [{ sweeps }, ...about] = await Promise.all([ask("/api/compare", { id: ids }), ...ids.map((id) => ask(of(id)))]);
  if (isLeft()) return;
  page.append(el("h1", {}, "Compare"), el("div", { class: "list" }, about.map((a, i) =>
    el("section", { class: "card" }, el("div", { class: "head" }, swatch(i), link(`/sweep/${a.id}`, { class: "name" }, a.name),
      el("span", { class: "faint" }, a.kind)), progressBar(a), el("p", { class: "where" }, a.where)))));
  const metrics = [...new Set(sweeps.flatMap((s) => Object.keys(s.metrics)))];
  page.append(el("h2", {}, "One metric, over all units of each"), ...spread(metrics, sweeps, about, state, isLeft));
  page.append(el("h2", {}, "Least and largest value of each metric"), metricTable(metrics, sweeps, about));
  sweeps.slice(1).forEach((sweep, i) => {
    page.append(el("h2", {}, `The spec of ${about[i + 1].name}, against that of ${about[0].name}`),
      sweep.differences.length ? el("pre", {}, sweep.differences.join("\n")) : el("p", { class: "faint" }, "They are the same."));
  });
}

function swatch(i) {
  return el("span", { class: "swatch", style: { background: colour(i) } });
}

function metricTable(metrics, sweeps, about) {
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", {}, "metric"), about.map((a, i) => el("th", { class: "number" }, swatch(i), " ", a.name)))),
    el("tbody", {}, metrics.map((metric) => el("tr", {}, el("td", {}, metric), sweeps.map((s) => {
      const range = s.metrics[metric];
      return el("td", { class: "number" }, range ? `${shown(range.least)} to ${shown(range.largest)}` : "-");
    }))))));
}

/** Quantiles: all units of each sweep, sorted by a metric. */
function spread(metrics, sweeps, about, state, isLeft) {
  if (!metrics.length) return [el("p", { class: "faint" }, "They have no metric that is a number.")];
  const choice = el("select", { "aria-label": "metric" }, metrics.map((m) => el("option", { value: m }, m)));
  if (metrics.includes(state.get("metric"))) choice.value = state.get("metric");
  const host = el("div", { class: "plot" });
  const says = el("p", { class: "faint" });
  async function draw() {
    const metric = choice.value;
    const traces = [];
    const all = [];
    const notes = [];
    for (const [i, sweep] of sweeps.entries()) {
      if (!(metric in sweep.metrics)) continue;
      const sort = JSON.stringify([metric, "ascending"]);
      const filter = JSON.stringify([metric, "present"]);
      const { columns, count, shown: drawn } = await ask(of(sweep.id, "points"), { column: metric, sort, filter });
      const y = columns[metric].filter((v) => typeof v === "number");
      all.push(...y);
      if (drawn < count) notes.push(`${many(drawn)} of ${many(count)} units of ${about[i].name} are drawn, at even distances.`);
      traces.push({ x: y.map((_, k) => (100 * (k + 0.5)) / y.length), y, mode: "lines", type: "scatter", name: plain(about[i].name), line: { color: colour(i), width: 2 } });
    }
    if (isLeft() || metric !== choice.value) return;
    says.textContent = ["Units of each sweep sorted by their value: the middle is the median.", ...notes].join(" ");
    const layout = { height: 420, showlegend: true, xaxis: { title: { text: "units, %" } }, yaxis: { title: { text: plain(metric) }, type: isLog(all) ? "log" : "linear" } };
    await plot(host, traces, layout, `compare-${metric}`);
  }
  choice.addEventListener("change", () => {
    state.set({ metric: choice.value });
    draw();
  });
  queueMicrotask(draw);
  return [el("div", { class: "bar" }, el("label", {}, "metric ", choice)), host, says];
}
