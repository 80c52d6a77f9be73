// Parallel coordinates in SVG. Pull along an axis to filter by it; click on it to let all through again.

import { el, saveDrawing, shown, svg } from "./dom.js";
import { isLog, shade } from "./plots.js";

const TOP = 46;
const BOTTOM = 22;
const SIDE = 60;
const MOST_LINES = 1500;
const MOST_NAMES = 24; // different texts on an axis

/** An axis: where a value stands on it, from 0 below to 1 above, and the marks beside it. */
function axisOf(column, values) {
  const numbers = values.filter((v) => typeof v === "number");
  if (numbers.length && column.type !== "text" && column.type !== "bool") {
    const log = isLog(numbers);
    const scale = (v) => (log ? Math.log10(v) : v);
    const [low, high] = numbers.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]).map(scale);
    const width = high - low || 1;
    const back = (share) => (log ? 10 ** (low + share * width) : low + share * width);
    return {
      place: (v) => (typeof v === "number" ? (scale(v) - low) / width : null), back, log,
      marks: [0, 0.25, 0.5, 0.75, 1].map((share) => [share, shown(Number(back(share).toPrecision(3)))]),
    };
  }
  const names = [...new Set(values.map((v) => shown(v)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).slice(0, MOST_NAMES);
  const share = (i) => (names.length > 1 ? i / (names.length - 1) : 0.5);
  return {
    place: (v) => (names.includes(shown(v)) ? share(names.indexOf(shown(v))) : null), names,
    marks: names.map((name, i) => [share(i), name.length > 16 ? `${name.slice(0, 15)}…` : name]),
  };
}

/**
 * Draw units as lines across columns.
 * @param data columns with all their values: {name: [...]}
 * @param filters ranges that are set, `[column, sign, value]`
 * @param filter is called with a column and its new filters
 */
export function parallel(host, columns, data, colourBy, filters, filter, open) {
  if (host.querySelector(".pulled")) return; // an axis is being pulled: its filter draws all again
  const width = Math.max(host.clientWidth || 800, 110 * columns.length);
  const height = 380;
  const axes = columns.map((column) => axisOf(column, data[column.name]));
  const x = (i) => SIDE + (i * (width - 2 * SIDE)) / Math.max(1, columns.length - 1);
  const y = (share) => TOP + (1 - share) * (height - TOP - BOTTOM);
  const by = columns.findIndex((c) => c.name === colourBy);
  const count = data.key.length;
  const lines = svg("g", { fill: "none", "stroke-width": 1, "stroke-opacity": count > 300 ? 0.25 : 0.5 });
  const step = Math.max(1, Math.ceil(count / MOST_LINES));
  for (let row = 0; row < count; row += step) {
    const places = axes.map((axis, i) => axis.place(data[columns[i].name][row]));
    let path = "";
    places.forEach((share, i) => {
      if (share !== null) path += `${path && places[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)},${y(share).toFixed(1)}`;
    });
    const share = by >= 0 ? places[by] : null;
    const one = svg("path", { d: path, stroke: share === null ? "#888" : shade(share), class: "unit" });
    one.addEventListener("click", () => open(data.key[row]));
    lines.append(one);
  }
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "parallel coordinates" }, lines);
  axes.forEach((axis, i) => drawing.append(drawAxis(axis, columns[i], x(i), y, filters, filter)));
  const name = "parallel-coordinates";
  host.replaceChildren(
    el("div", { class: "wide" }, drawing),
    el("p", { class: "files" }, ["png", "svg"].map((form) =>
      el("button", { class: "plain", onclick: () => saveDrawing(drawing, name, form) }, form.toUpperCase()))),
  );
}

function drawAxis(axis, column, at, y, filters, filter) {
  const group = svg("g", { transform: `translate(${at.toFixed(1)},0)`, class: "axis" });
  const name = column.shown.length > 18 ? `${column.shown.slice(0, 17)}…` : column.shown;
  group.append(
    svg("title", {}, `${column.shown}: pull along the axis to filter, click to let all through`),
    svg("line", { x1: 0, x2: 0, y1: y(0), y2: y(1), class: "rule" }),
    svg("text", { y: 18, "text-anchor": "middle", class: "name" }, name),
    ...axis.marks.map(([share, text]) => svg("text", { x: 6, y: y(share) + 4, class: "mark" }, text)),
  );
  const bounds = bandOf(axis, column, filters);
  if (bounds) group.append(svg("rect", { x: -7, width: 14, y: y(bounds[1]), height: Math.max(3, y(bounds[0]) - y(bounds[1])), class: "band" }));
  const handle = svg("rect", { x: -14, width: 28, y: y(1) - 6, height: y(0) - y(1) + 12, fill: "transparent", class: "handle" });
  const pulled = svg("rect", { x: -7, width: 14, height: 0, class: "band pulled" });
  handle.addEventListener("pointerdown", (event) => {
    const shareAt = (e) => {
      const box = handle.ownerSVGElement.getBoundingClientRect();
      const top = ((e.clientY - box.top) / box.height) * handle.ownerSVGElement.viewBox.baseVal.height;
      return Math.min(1, Math.max(0, (y(0) - top) / (y(0) - y(1))));
    };
    const from = shareAt(event);
    let to = from;
    handle.setPointerCapture(event.pointerId);
    group.append(pulled);
    const move = (e) => {
      to = shareAt(e);
      pulled.setAttribute("y", y(Math.max(from, to)));
      pulled.setAttribute("height", y(Math.min(from, to)) - y(Math.max(from, to)));
    };
    handle.addEventListener("pointermove", move);
    handle.addEventListener("lostpointercapture", () => {
      handle.removeEventListener("pointermove", move);
      pulled.remove();
      if (Math.abs(from - to) < 0.02) filter(column, []);
      else filter(column, filtersOf(axis, column, Math.min(from, to), Math.max(from, to)));
    }, { once: true });
  });
  group.append(handle);
  return group;
}

function filtersOf(axis, column, low, high) {
  if (axis.names) {
    const inside = axis.names.filter((name) => axis.place(name) >= low && axis.place(name) <= high);
    if (inside.length === axis.names.length) return [];
    return column.type === "text" ? [[column.name, "in", ...inside]] : inside.map((name) => [column.name, "=", name]);
  }
  const round = (v) => String(Number(v.toPrecision(4)));
  return [[column.name, ">=", round(axis.back(low))], [column.name, "<=", round(axis.back(high))]];
}

function bandOf(axis, column, filters) {
  if (axis.names) return null;
  const bound = (signs) => filters.find((f) => f[0] === column.name && signs.includes(f[1]))?.[2];
  const low = bound([">=", ">"]);
  const high = bound(["<=", "<"]);
  if (low === undefined && high === undefined) return null;
  const at = (value, otherwise) => {
    const share = value === undefined ? otherwise : axis.place(Number(value));
    return Math.min(1, Math.max(0, Number.isFinite(share) ? share : otherwise));
  };
  return [at(low, 0), at(high, 1)];
}
