// The address bar holds the whole state of a view: filters, order, columns, what is drawn.

/** The state in the address: lists under names that may be repeated. */
export class State {
  constructor() {
    this.words = new URLSearchParams(location.search);
  }

  get(name, otherwise = "") {
    return this.words.get(name) ?? otherwise;
  }

  all(name) {
    return this.words.getAll(name);
  }

  /** Change some values; the address follows, without a new entry in the history unless one is wanted. */
  set(values, { entry = false } = {}) {
    for (const [name, value] of Object.entries(values)) {
      this.words.delete(name);
      for (const one of Array.isArray(value) ? value : [value]) {
        if (one !== undefined && one !== null && one !== "") this.words.append(name, one);
      }
    }
    const text = this.words.toString();
    const href = text ? `${location.pathname}?${text}` : location.pathname;
    if (entry) history.pushState(null, "", href);
    else history.replaceState(null, "", href);
  }
}

/** Filters as they stand in addresses and in questions: `["loss","<","0.5"]`. */
export function readFilters(state) {
  return state.all("filter").flatMap((text) => {
    try {
      const parts = JSON.parse(text);
      return Array.isArray(parts) && parts.length >= 2 && parts.every((p) => typeof p === "string") ? [parts] : [];
    } catch {
      return [];
    }
  });
}

/** What somebody types above a column, as filters of it; null where it can't be read. */
export function typedFilters(column, typed) {
  const text = typed.trim();
  if (!text) return [];
  if (text === "missing" || text === "-") return [[column.name, "missing"]];
  if (text === "present") return [[column.name, "present"]];
  if (column.type === "text" && text.includes(" | ")) return [[column.name, "in", ...text.split(" | ").map((t) => t.trim())]];
  const range = text.match(/^(.+?)\s*\.\.\s*(.+)$/);
  if (range && column.type !== "text") return [[column.name, ">=", range[1]], [column.name, "<=", range[2]]];
  const sign = text.match(/^(<=|>=|!=|<|>|=)\s*(.+)$/);
  if (sign) return [[column.name, sign[1], sign[2]]];
  return [[column.name, column.type === "text" ? "contains" : "=", text]];
}

/** The same, back as text for the field above the column. */
export function filterText(column, filters) {
  const own = filters.filter((f) => f[0] === column.name);
  if (own.length === 2 && own[0][1] === ">=" && own[1][1] === "<=") return `${own[0][2]} .. ${own[1][2]}`;
  if (!own.length) return "";
  const [, sign, value, ...others] = own[own.length - 1];
  if (sign === "in") return [value, ...others].join(" | ");
  if (sign === "missing" || sign === "present") return sign;
  return sign === "contains" || (sign === "=" && column.type !== "text") ? value : `${sign} ${value}`;
}
