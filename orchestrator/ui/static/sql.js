// A question in SQL over the rows of all sweeps.

import { address, ask, Problem } from "./api.js";
import { command, el, link, problem, shown } from "./dom.js";
import { State } from "./view.js";

/** The question that was run last in this tab: a link only writes one, which its user reads before it is run. */
const ASKED = "asked";

export async function showSql({ page, title, isLeft }) {
  title("SQL", el("span", {}, "SQL"));
  const state = new State();
  const known = await ask("/api/sql");
  if (isLeft()) return;
  const first = known.tables[0]?.table ?? "NAME";
  const field = el("textarea", { rows: 6, spellcheck: "false", "aria-label": "question in SQL", placeholder: `SELECT * FROM ${first} LIMIT 20` }, state.get("q"));
  const run = el("button", { class: "button" }, "Run");
  const result = el("div", {});
  page.append(el("h1", {}, "SQL"));
  if (!known.installed) {
    page.append(el("p", {}, "Questions in SQL need DuckDB, which is not installed:"), command("pip install 'landsweep[ui]'"));
    return;
  }
  page.append(
    el("p", { class: "faint" }, "One SELECT of DuckDB's SQL. Each sweep is a table of its rows, and NAME_series holds its curves: key, step, metric, value. Nothing else can be read, and nothing is changed. Ctrl-Enter runs it."),
    field, el("div", { class: "bar" }, run), result,
    el("h2", {}, "Tables"),
    el("dl", {}, known.tables.map((t) => el("div", {}, el("dt", {}, el("code", {}, t.table)), el("dd", {}, link(`/sweep/${t.id}`, {}, t.where))))),
  );
  async function ask_() {
    const q = field.value.trim();
    state.set({ q });
    if (!q) return;
    sessionStorage.setItem(ASKED, q);
    run.disabled = true;
    result.replaceChildren(el("p", { class: "faint" }, "running..."));
    try {
      const answer = await ask("/api/sql", { q });
      if (!isLeft() && q === field.value.trim()) result.replaceChildren(...drawn(answer, q));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      result.replaceChildren(el("pre", { class: "error" }, error.message));
    } finally {
      run.disabled = false;
    }
  }
  run.addEventListener("click", ask_);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask_();
  });
  if (field.value.trim() && sessionStorage.getItem(ASKED) === field.value.trim()) await ask_();
}

function drawn(answer, q) {
  const count = answer.columns[0]?.length ?? 0;
  const isNumber = answer.columns.map((cells) => cells.some((v) => typeof v === "number"));
  const lines = Array.from({ length: count }, (_, i) =>
    el("tr", {}, answer.columns.map((cells, k) => el("td", { class: isNumber[k] ? "number" : "" }, shown(cells[i])))));
  const files = ["csv", "parquet"].map((form) => el("a", { href: address(`/api/sql.${form}`, { q }) }, form === "csv" ? "CSV" : "Parquet"));
  return [
    el("p", { class: "faint" }, answer.more ? `The first ${count} rows of more. ` : `${count} ${count === 1 ? "row" : "rows"}. `, files[0], " ", files[1]),
    el("div", { class: "scroll tall" }, el("table", {}, el("thead", {}, el("tr", {}, answer.header.map((h, k) => el("th", { class: isNumber[k] ? "number" : "" }, h)))), el("tbody", {}, lines))),
  ];
}
