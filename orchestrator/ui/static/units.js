// The tab with the table of units.

import { address, ask, of } from "./api.js";
import { el } from "./dom.js";
import { Table } from "./table.js";

const ROLES = { key: 0, param: 1, metric: 2, meter: 3 };
const HIDDEN = ["cause", "error", "attempt", "worker", "cpu_seconds", "peak_memory", "ended"]; // until they are chosen

export async function tableTab(host, sweep) {
  const { state } = sweep;
  const table = new Table({
    read: (offset, limit, signal) => ask(of(sweep.id, "rows"), { ...sweep.query(), column: names(), offset, limit }, signal),
    href: (key) => `/unit/${sweep.id}/${encodeURIComponent(key)}`,
    changed: ({ filters, sorts }) => {
      state.set({ sort: sorts.map((s) => JSON.stringify(s)) });
      sweep.setFilters(filters, { redraw: false });
      follow();
    },
  });
  const files = { csv: el("a", {}, "CSV"), parquet: el("a", {}, "Parquet") };
  const chooser = el("details", { class: "chooser" });
  host.append(
    el("div", { class: "bar" }, table.says, el("span", { class: "space" }), chooser, files.csv, files.parquet),
    table.trouble, table.scroller,
    el("p", { class: "faint hint" }, "Click on a name to sort, with Shift by several; type below it to filter. The address of this page holds the view: copy it as a link."),
  );

  function ordered() {
    const place = (c) => (c.name === "status" ? 0.5 : ROLES[c.role]);
    return [...sweep.columns()].sort((a, b) => place(a) - place(b));
  }
  function chosen() {
    const wanted = state.all("column");
    return wanted.length ? ordered().filter((c) => wanted.includes(c.name)) : ordered().filter((c) => !HIDDEN.includes(c.name));
  }
  function names() {
    return [...new Set(["key", ...chosen().map((c) => c.name)])];
  }
  function follow() {
    for (const [form, anchor] of Object.entries(files)) {
      anchor.setAttribute("href", address(of(sweep.id, `rows.${form}`), { ...sweep.query(), column: state.all("column") }));
    }
  }
  function drawChooser() {
    const now = chosen().map((c) => c.name);
    chooser.replaceChildren(el("summary", {}, `${now.length} of ${sweep.columns().length} columns`), el("div", { class: "choices" }, ordered().map((c) => {
      const mark = el("input", { type: "checkbox", checked: now.includes(c.name) });
      mark.addEventListener("change", () => {
        const next = mark.checked ? [...now, c.name] : now.filter((n) => n !== c.name);
        state.set({ column: next });
        draw();
      });
      return el("label", { title: c.doc }, mark, " ", c.shown);
    })));
  }
  function draw() {
    drawChooser();
    follow();
    const sorts = state.all("sort").flatMap((text) => {
      try {
        return [JSON.parse(text)];
      } catch {
        return [];
      }
    });
    return table.show(chosen(), sweep.filters, sorts);
  }
  await draw();
  return { end: () => table.end(), live: () => table.reload(), described: draw, changed: draw };
}
