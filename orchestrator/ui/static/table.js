// A table of any length: rows are asked for as they come into view; the server sorts and filters.

import { el, link, many, problem, shown } from "./dom.js";
import { filterText, typedFilters } from "./view.js";

const HEIGHT = 28; // pixels of a row
const TALLEST = 8e6; // pixels; browsers cut off taller elements, so beyond this the bar moves over several rows at once
const BLOCK = 100; // rows of one question
const AROUND = 6; // rows that are drawn above and below what is seen
const WIDTHS = { key: 124, status: 90, text: 140, float: 112, int: 84, bool: 70, error: 320 };
const PAUSE = 80; // ms after the last key before a filter counts

export class Table {
  /**
   * @param options.read gives some rows: (offset, limit, signal) => {count, all, rows: {column: [...]}}
   * @param options.href gives the address of a row's page from its key
   * @param options.changed is told of new filters and a new order: ({filters, sorts})
   */
  constructor({ read, href, changed }) {
    Object.assign(this, { read, href, changed });
    this.columns = [];
    this.filters = [];
    this.sorts = [];
    this.blocks = new Map();
    this.drawn = new Map();
    this.count = 0;
    this.turn = 0;
    this.head = el("div", { class: "thead", role: "rowgroup" });
    this.body = el("div", { class: "tbody", role: "rowgroup" });
    this.scroller = el("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "units" }, this.head, this.body);
    this.says = el("span", { class: "count", role: "status" });
    this.trouble = el("div", {});
    this.scroller.addEventListener("scroll", () => this.paint(), { passive: true });
    this.resized = new ResizeObserver(() => this.paint());
    this.resized.observe(this.scroller);
  }

  /** Show these columns under these filters and in this order. */
  show(columns, filters, sorts) {
    this.columns = columns;
    this.filters = filters;
    this.sorts = sorts;
    this.drawHead();
    return this.reload();
  }

  /** Ask for the rows that are seen again: they have changed. What is there stays until the answer comes. */
  async reload() {
    this.turn += 1;
    this.abort?.abort();
    this.abort = new AbortController();
    this.old = this.blocks;
    this.blocks = new Map();
    await this.load(Math.floor(this.first() / BLOCK));
    this.paint();
  }

  end() {
    this.abort?.abort();
    this.resized.disconnect();
  }

  drawHead() {
    const widths = this.columns.map((c) => WIDTHS[c.name] ?? Math.max(WIDTHS[c.type], 9 * c.shown.length + 26));
    const template = widths.map((w) => `${Math.min(w, 340)}px`).join(" ");
    this.scroller.style.setProperty("--columns", template);
    this.scroller.style.setProperty("--width", `${widths.reduce((a, w) => a + Math.min(w, 340), 0)}px`);
    this.scroller.setAttribute("aria-colcount", this.columns.length);
    const names = el("div", { class: "tr", role: "row" }, this.columns.map((c) => this.headCell(c)));
    const fields = el("div", { class: "tr fields", role: "row" }, this.columns.map((c) => this.field(c)));
    const typing = this.head.contains(document.activeElement) ? document.activeElement : null;
    this.head.replaceChildren(names, fields);
    if (typing?.dataset.column) this.goOn(typing);
    for (const row of this.drawn.values()) row.element.remove();
    this.drawn.clear();
  }

  /** Whoever types while the head is drawn again goes on in the new field. */
  goOn(typing) {
    const field = [...this.head.querySelectorAll("input")].find((one) => one.dataset.column === typing.dataset.column);
    if (!field) return;
    field.value = typing.value;
    field.focus();
    field.setSelectionRange(typing.selectionStart, typing.selectionEnd);
  }

  headCell(column) {
    const order = this.sorts.find((s) => s[0] === column.name)?.[1];
    const mark = order === "ascending" ? " ▲" : order === "descending" ? " ▼" : "";
    const about = [column.doc, column.unit && `in ${column.unit}`].filter(Boolean).join(", ");
    const name = el("button", { title: about ? `${column.shown}: ${about}` : column.shown }, column.shown, mark);
    name.addEventListener("click", (event) => this.sort(column, event.shiftKey));
    return el("div", { class: `th ${column.type}`, role: "columnheader", "aria-sort": order ?? "none" }, name);
  }

  field(column) {
    const hint = column.type === "text" ? "contains" : column.type === "bool" ? "yes or no" : "< 0.5, 1 .. 2";
    const input = el("input", {
      type: "text", placeholder: hint, value: filterText(column, this.filters), "aria-label": `filter ${column.shown}`,
      title: "contains, or = != < <= > >= and a value; 1 .. 2 for a range; missing; present", spellcheck: "false",
      "data-column": column.name,
    });
    input.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => {
        const others = this.filters.filter((f) => f[0] !== column.name);
        this.change([...others, ...typedFilters(column, input.value)], this.sorts);
      }, PAUSE);
    });
    return el("div", { class: "th", role: "gridcell" }, input);
  }

  /** The next order of a column: ascending, descending, none; with the shift key beside the other columns. */
  sort(column, beside) {
    const now = this.sorts.find((s) => s[0] === column.name)?.[1];
    const next = now === undefined ? "ascending" : now === "ascending" ? "descending" : null;
    const others = beside ? this.sorts.filter((s) => s[0] !== column.name) : [];
    this.change(this.filters, next ? [...others, [column.name, next]] : others);
    this.drawHead();
  }

  change(filters, sorts) {
    this.filters = filters;
    this.sorts = sorts;
    this.scroller.scrollTop = 0;
    this.changed({ filters, sorts });
    return this.reload();
  }

  get height() {
    return Math.min(this.count * HEIGHT, TALLEST);
  }

  get seen() {
    return Math.max(1, Math.ceil((this.scroller.clientHeight - this.head.offsetHeight) / HEIGHT));
  }

  /** Number of the first row in view. */
  first() {
    const top = this.scroller.scrollTop;
    if (this.count * HEIGHT <= TALLEST) return Math.floor(top / HEIGHT);
    const share = top / Math.max(1, TALLEST - this.seen * HEIGHT);
    return Math.min(Math.round(share * (this.count - this.seen)), Math.max(0, this.count - this.seen));
  }

  async load(number) {
    if (this.blocks.has(number)) return;
    const turn = this.turn;
    this.blocks.set(number, null);
    try {
      const answer = await this.read(number * BLOCK, BLOCK, this.abort?.signal);
      if (turn !== this.turn) return;
      this.blocks.set(number, answer.rows);
      this.count = answer.count;
      this.says.textContent = answer.count === answer.all ? `${many(answer.all)} rows` : `${many(answer.count)} of ${many(answer.all)} rows`;
      this.scroller.setAttribute("aria-rowcount", answer.count);
      this.body.style.height = `${this.height}px`;
      this.trouble.replaceChildren();
      this.old = null;
      for (const row of this.drawn.values()) row.stale = true;
      this.paint();
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn) return;
      this.blocks.delete(number);
      this.trouble.replaceChildren(problem(error.message));
    }
  }

  paint() {
    if (this.old) return; // the answer to a new question is on its way
    const first = this.first();
    const from = Math.max(0, first - AROUND);
    const to = Math.min(this.count, first + this.seen + AROUND);
    const scaled = this.count * HEIGHT > TALLEST;
    for (const [i, row] of this.drawn) {
      if (i >= from && i < to) continue;
      row.element.remove();
      this.drawn.delete(i);
    }
    for (let i = from; i < to; i += 1) {
      const rows = this.blocks.get(Math.floor(i / BLOCK));
      if (rows === undefined) this.load(Math.floor(i / BLOCK));
      let row = this.drawn.get(i);
      if (!row || (rows && (row.waiting || row.stale))) {
        const element = this.row(i, rows);
        if (row) row.element.replaceWith(element);
        else this.body.append(element);
        row = { element, waiting: !rows, stale: false };
        this.drawn.set(i, row);
      }
      const top = scaled ? this.scroller.scrollTop + (i - first) * HEIGHT : i * HEIGHT;
      row.element.style.transform = `translateY(${top}px)`;
    }
  }

  row(i, rows) {
    const place = i % BLOCK;
    const cells = this.columns.map((column) => {
      const value = rows?.[column.name]?.[place];
      if (!rows) return el("div", { class: "td faint" }, "…");
      const text = shown(value);
      if (column.name === "key") return el("div", { class: "td key", role: "gridcell" }, link(this.href(value), {}, text.slice(0, 12)));
      const kind = column.name === "status" ? `status ${text}` : column.type;
      return el("div", { class: `td ${kind}`, role: "gridcell", title: text.length > 12 ? text : undefined }, text);
    });
    return el("div", { class: "tr", role: "row", "aria-rowindex": i + 1 }, cells);
  }
}
