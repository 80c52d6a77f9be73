// One sweep: its state, and a tab for each way to look at its units. Filters and order are shared by all tabs.

import { address, ask, of, poll } from "./api.js";
import { el, link, many, problem } from "./dom.js";
import { badge, progressBar } from "./sweeps.js";
import { readFilters, State } from "./view.js";
import { chartsTab, curvesTab } from "./charts.js";
import { factsTab, failuresTab, figuresTab } from "./facts.js";
import { tableTab } from "./units.js";

const TABS = [
  ["units", "Units", tableTab],
  ["curves", "Curves", curvesTab],
  ["charts", "Charts", chartsTab],
  ["figures", "Figures", figuresTab],
  ["failures", "Failures", failuresTab],
  ["about", "About", factsTab],
];

export async function showSweep({ page, title, onLeave, isLeft }, id) {
  title("sweep");
  const state = new State();
  const sweep = { id, state, about: null, filters: readFilters(state), isLeft };
  const head = el("div", {});
  const tabs = el("nav", { class: "tabs", role: "tablist" });
  const chips = el("div", { class: "chips" });
  const host = el("div", { class: "tab" });
  page.append(head, tabs, chips, host);
  let shown = null;

  sweep.about = await ask(of(id));
  if (isLeft()) return;
  title(sweep.about.name, el("span", {}, sweep.about.name));

  /** What filters and order make of an address; the table, its files and the charts ask the same. */
  sweep.query = () => ({ filter: sweep.filters.map((f) => JSON.stringify(f)), sort: state.all("sort") });
  sweep.columns = () => sweep.about.columns;
  sweep.setFilters = (filters, { redraw = true } = {}) => {
    sweep.filters = filters;
    state.set({ filter: filters.map((f) => JSON.stringify(f)) });
    drawChips();
    if (redraw) shown?.changed?.();
  };
  sweep.open = (key) => {
    const way = link(`/unit/${id}/${encodeURIComponent(key)}`, {});
    page.append(way);
    way.click();
  };

  function drawHead() {
    const { about } = sweep;
    head.replaceChildren(
      el("div", { class: "bar" }, el("h1", {}, about.name), badge(about), el("span", { class: "faint" }, about.kind)),
      about.description && el("p", {}, about.description), progressBar(about), ...about.remarks.map(problem));
  }
  function drawTabs() {
    const now = state.get("tab", "units");
    tabs.replaceChildren(...TABS.map(([name, words]) => {
      const text = name === "failures" && sweep.about.counts.failed ? `${words} (${many(sweep.about.counts.failed)})` : words;
      const href = address(location.pathname, { tab: name === "units" ? "" : name, ...sweep.query() });
      const tab = el("a", { href, role: "tab", "aria-selected": String(name === now), class: name === now ? "chosen" : "" }, text);
      tab.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        state.set({ tab: name === "units" ? "" : name }, { entry: true });
        open();
      });
      return tab;
    }));
  }
  function drawChips() {
    const signs = { contains: "contains", missing: "is missing", present: "is there" };
    chips.replaceChildren(...sweep.filters.map((f) => {
      const words = `${f[0]} ${signs[f[1]] ?? f[1]} ${f.slice(2).join(" | ")}`.trim();
      const chip = el("button", { class: "chip", title: "remove this filter" }, words, " ×");
      chip.addEventListener("click", () => {
        sweep.setFilters(sweep.filters.filter((one) => one !== f), { redraw: false });
        open();
      });
      return chip;
    }));
  }
  async function open() {
    shown?.end?.();
    shown = null;
    drawTabs();
    drawChips();
    const [, , tab] = TABS.find(([name]) => name === state.get("tab", "units")) ?? TABS[0];
    host.replaceChildren();
    const part = el("div", {});
    host.append(part);
    try {
      const made = await tab(part, sweep);
      if (part.isConnected) shown = made ?? {};
      else made?.end?.();
    } catch (error) {
      if (part.isConnected) part.append(problem(error.message));
    }
  }

  drawHead();
  onLeave(() => shown?.end?.());
  const opened = open();
  opened.then(() => describe(sweep, () => shown?.described?.()));
  onLeave(poll(async () => {
    const before = sweep.about;
    const now = await ask(of(id));
    if (isLeft()) return false;
    sweep.about = { ...now, columns: sweep.described ? merged(now.columns, before.columns) : now.columns };
    drawHead();
    drawTabs();
    if (now.version !== before.version) shown?.live?.();
    else if (now.reports !== before.reports) shown?.reported?.();
    return now.running;
  }));
  await opened;
}

/** The kind's own words on the columns come later: to have them, its libraries are imported. */
async function describe(sweep, done) {
  const answer = await ask(of(sweep.id, "columns")).catch(() => null);
  if (!answer || sweep.isLeft()) return;
  sweep.described = true;
  sweep.about.columns = answer.columns;
  sweep.kindProblem = answer.problem;
  done();
}

function merged(now, described) {
  return now.map((column) => described.find((c) => c.name === column.name && c.type === column.type) ?? column);
}
