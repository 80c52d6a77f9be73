// The tabs that draw: curves of units by step, a scatter of any columns, parallel coordinates.

import { ask, of } from "./api.js";
import { el, many } from "./dom.js";
import { parallel } from "./parallel.js";
import { colour, isLog, plain, plot } from "./plots.js";

const COUNTS = ["5", "10", "20", "50"];

function choose(label, options, value, changed) {
  const select = el("select", { "aria-label": label }, options.map(([name, words]) => el("option", { value: name }, words)));
  if (options.some(([name]) => name === value)) select.value = value;
  select.addEventListener("change", () => changed(select.value));
  return el("label", {}, `${label} `, select);
}


/** Columns of a sweep for a list: params first, then metrics, then meters. */
function offered(sweep, numbersOnly = false) {
  const roles = ["metric", "param", "meter"];
  return sweep.columns()
    .filter((c) => c.role !== "key" && c.name !== "error" && (!numbersOnly || c.type === "float" || c.type === "int"))
    .sort((a, b) => roles.indexOf(a.role) - roles.indexOf(b.role));
}

/** The sort key that puts the best or the largest first is the table's: curves are those of its first rows. */
export async function curvesTab(host, sweep) {
  const { state } = sweep;
  const bar = el("div", { class: "bar" });
  const says = el("p", { class: "faint" });
  const panel = el("div", { class: "plot" });
  host.append(bar, says, panel);
  let turn = 0;

  async function draw() {
    const mine = ++turn;
    const limit = state.get("curves", "10");
    const answer = await ask(of(sweep.id, "curves"), { ...sweep.query(), metric: state.get("metric"), limit });
    if (mine !== turn || !panel.isConnected) return;
    if (!answer.metrics.length) {
      says.textContent = "No curves yet: units of this sweep have given nothing step by step.";
      return;
    }
    const change = (name) => (value) => {
      state.set({ [name]: value });
      draw();
    };
    const metrics = answer.metrics.map((m) => [m.name, m.shown]);
    bar.replaceChildren(choose("metric", metrics, answer.metric, change("metric")), choose("units", COUNTS.map((c) => [c, c]), limit, change("curves")),
      choose("scale", [["", "by the values"], ["linear", "linear"], ["log", "logarithmic"]], state.get("scale"), change("scale")));
    const labels = await namesOf(sweep, answer.lines.map((l) => l.key));
    if (mine !== turn || !panel.isConnected) return;
    const running = answer.lines.filter((one) => one.params);
    const ended = answer.lines.length - running.length;
    says.textContent = `The first ${ended} units of the table, in its order and under its filters${running.length ? `, and ${running.length} that still run (thick)` : ""}.`;
    const traces = answer.lines.map((one, i) => ({
      x: one.steps, y: one.values, mode: one.steps.length === 1 ? "markers" : "lines", type: "scatter",
      name: plain(one.params ? `running: ${words(differing(running.map((r) => r.params)), one.params) || one.key.slice(0, 8)}` : labels[one.key] ?? one.key.slice(0, 8)),
      line: { color: colour(i), width: one.params ? 3 : 1.5, dash: ["solid", "dot", "dash"][Math.floor(i / 8) % 3] },
      hoverlabel: { namelength: -1 }, customdata: one.params ? undefined : one.steps.map(() => one.key),
    }));
    const values = answer.lines.flatMap((one) => one.values);
    const type = state.get("scale") || (isLog(values) ? "log" : "linear");
    const shown = metrics.find(([name]) => name === answer.metric)?.[1] ?? answer.metric;
    const layout = { height: 460, showlegend: traces.length <= 20, xaxis: { title: { text: "step" } }, yaxis: { title: { text: plain(shown) }, type } };
    await plot(panel, traces, layout, `curves-${shown}`);
    onPoint(panel, sweep);
  }
  await draw();
  return { live: draw, reported: draw, changed: draw };
}

/** A short name for each unit: the params in which these units differ. */
async function namesOf(sweep, keys) {
  const params = sweep.columns().filter((c) => c.role === "param").map((c) => c.name);
  if (!params.length || !keys.length) return {};
  const { rows } = await ask(of(sweep.id, "rows"), { ...sweep.query(), column: ["key", ...params], limit: 100 });
  const places = keys.map((key) => rows.key.indexOf(key)).filter((i) => i >= 0);
  const units = places.map((i) => Object.fromEntries(params.map((p) => [p, rows[p][i]])));
  const differ = differing(units);
  return Object.fromEntries(places.map((i, n) => [rows.key[i], words(differ, units[n]) || rows.key[i].slice(0, 8)]));
}

/** The first params that are not the same in all of these units. */
function differing(units) {
  return Object.keys(units[0] ?? {}).filter((p) => new Set(units.map((u) => String(u[p]))).size > 1).slice(0, 5);
}

/** Some params of a unit in a few words. */
function words(names, unit) {
  const value = (v) => (typeof v === "number" ? Number(v.toPrecision(3)) : v);
  return names.map((p) => `${p.split(".").pop()} ${value(unit[p])}`).join(", ").slice(0, 80);
}

/** A click on a point opens its unit. */
function onPoint(panel, sweep) {
  panel.removeAllListeners("plotly_click");
  panel.on("plotly_click", ({ points }) => points[0]?.customdata && sweep.open(points[0].customdata));
}

export async function chartsTab(host, sweep) {
  const { state } = sweep;
  const bar = el("div", { class: "bar" });
  const says = el("p", { class: "faint" });
  const scatter = el("div", { class: "plot" });
  const lines = el("div", { class: "plot" });
  const chooser = el("details", { class: "chooser" });
  host.append(bar, says, scatter, el("div", { class: "bar" }, el("h2", {}, "Parallel coordinates"), el("span", { class: "space" }), chooser),
    el("p", { class: "faint" }, "Pull along an axis to filter by it, here and in the table. Click on a line to open its unit."), lines);
  let turn = 0;

  function setting(name, otherwise) {
    const known = sweep.columns().map((c) => c.name);
    return known.includes(state.get(name)) ? state.get(name) : otherwise;
  }
  async function draw() {
    const mine = ++turn;
    const numbers = offered(sweep, true);
    const metrics = numbers.filter((c) => c.role === "metric");
    const params = offered(sweep).filter((c) => c.role === "param");
    const y = setting("y", (metrics[0] ?? numbers[0])?.name);
    const x = setting("x", (params[0] ?? numbers[1] ?? numbers[0])?.name);
    const by = state.get("by") === "-" ? "" : setting("by", (params[1] ?? metrics[1])?.name ?? "");
    if (!x || !y) {
      says.textContent = "There are no columns to draw yet.";
      return;
    }
    const wanted = state.all("axis").filter((name) => sweep.columns().some((c) => c.name === name));
    const axes = wanted.length ? wanted : [...params.slice(0, 7).map((c) => c.name), ...metrics.slice(0, 2).map((c) => c.name)];
    const names = [...new Set([x, y, ...(by ? [by] : []), ...axes])];
    const answer = await ask(of(sweep.id, "points"), { ...sweep.query(), column: names });
    if (mine !== turn || !scatter.isConnected) return;
    const change = (name) => (value) => {
      state.set({ [name]: value });
      draw();
    };
    const all = offered(sweep).map((c) => [c.name, c.shown]);
    bar.replaceChildren(choose("across", all, x, change("x")), choose("up", all, y, change("y")), choose("colour", [["-", "none"], ...all], by || "-", change("by")));
    const part = answer.shown < answer.count ? `${many(answer.shown)} of ${many(answer.count)} units are drawn, at even distances in the order of the table.` : `${many(answer.count)} units.`;
    says.textContent = `${part} Click on a point to open its unit.`;
    drawChooser(axes);
    const columnOf = (name) => sweep.columns().find((c) => c.name === name);
    const chosen = axes.map(columnOf);
    await drawScatter(scatter, answer.columns, columnOf(x), columnOf(y), by ? columnOf(by) : null);
    if (mine !== turn || !scatter.isConnected) return;
    onPoint(scatter, sweep);
    parallel(lines, chosen, answer.columns, y, sweep.filters, (column, filters) => { // last: the scatter pushes it down
      sweep.setFilters([...sweep.filters.filter((f) => f[0] !== column.name), ...filters]);
    }, sweep.open);
  }
  function drawChooser(axes) {
    chooser.replaceChildren(el("summary", {}, `${axes.length} axes`), el("div", { class: "choices" }, offered(sweep).map((c) => {
      const mark = el("input", { type: "checkbox", checked: axes.includes(c.name) });
      mark.addEventListener("change", () => {
        state.set({ axis: mark.checked ? [...axes, c.name] : axes.filter((a) => a !== c.name) });
        draw();
      });
      return el("label", {}, mark, " ", c.shown);
    })));
  }
  await draw();
  return { live: draw, changed: draw, described: draw };
}

async function drawScatter(host, columns, x, y, by) {
  const data = (column) => columns[column.name].map((v) => (v === null ? null : typeof v === "number" ? v : plain(v)));
  const axis = (column) => ({
    title: { text: plain(column.unit ? `${column.shown} [${column.unit}]` : column.shown) },
    type: column.type === "text" || column.type === "bool" ? "category" : isLog(columns[column.name]) ? "log" : "linear",
  });
  const whole = { x: data(x), y: data(y), customdata: columns.key, mode: "markers", type: "scatter", marker: { size: 6, opacity: 0.7 } };
  let traces = [whole];
  if (by && (by.type === "float" || by.type === "int")) {
    const log = isLog(columns[by.name]);
    const values = columns[by.name].map((v) => (typeof v === "number" ? (log ? Math.log10(v) : v) : null));
    whole.marker = { ...whole.marker, color: values, colorscale: "Viridis", colorbar: { title: { text: plain(log ? `log10 ${by.shown}` : by.shown), side: "right" }, thickness: 12 } };
  } else if (by) {
    const names = [...new Set(columns[by.name].map(String))].sort();
    traces = names.slice(0, 24).map((name, i) => {
      const rows = columns[by.name].flatMap((v, k) => (String(v) === name ? [k] : []));
      const some = (list) => rows.map((k) => list[k]);
      return { ...whole, x: some(whole.x), y: some(whole.y), customdata: some(columns.key), name: plain(name), marker: { ...whole.marker, color: colour(i) } };
    });
  }
  await plot(host, traces, { height: 440, showlegend: traces.length > 1, xaxis: axis(x), yaxis: axis(y) }, `${y.shown}-over-${x.shown}`);
}
