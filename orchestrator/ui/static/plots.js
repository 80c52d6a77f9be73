// Plotly, loaded once it is needed, in the colours of the page; with its own buttons for PNG and SVG.

import { el } from "./dom.js";

const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#8a6d00"]; // Okabe and Ito
let loading;

function load() {
  loading ??= new Promise((done, failed) => {
    const script = el("script", { src: "/static/plotly.js" });
    script.addEventListener("load", () => done(window.Plotly));
    script.addEventListener("error", () => failed(new Error("the plotting library could not be loaded")));
    document.head.append(script);
  });
  return loading;
}

/** Text as Plotly shows it: it reads some HTML, so signs that could begin a tag or an entity are written as entities. */
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "line", "paper", "faint"].map((n) => [n, style.getPropertyValue(`--${n}`).trim()]));
}

/** Draw traces into an element; called again with others, it changes the drawing. */
export async function plot(host, traces, layout, name) {
  const Plotly = await load();
  const { ink, line, faint } = colours();
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, exponentformat: "power" };
  const whole = {
    margin: { l: 60, r: 20, t: 16, b: 50 }, height: 380, colorway: PALETTE, font: { color: ink, size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, uirevision: "same",
    legend: { font: { color: faint } }, hovermode: "closest", ...layout,
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
  if (!host.isConnected) return null;
  await Plotly.react(host, traces, whole, config(name));
  return host;
}

/** A figure that a kind has made, as it is. */
export async function figure(host, made, name) {
  const Plotly = await load();
  if (host.isConnected) await Plotly.newPlot(host, made.data, made.layout, config(name));
}

function config(name) {
  const button = (format, title) => ({
    name: `save as ${format}`, title: title, icon: window.Plotly.Icons.camera,
    click: (drawing) => window.Plotly.downloadImage(drawing, { format, filename: name, scale: format === "png" ? 2 : 1 }),
  });
  return {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["toImage", "lasso2d", "select2d", "sendDataToCloud"],
    modeBarButtonsToAdd: [button("png", "PNG"), button("svg", "SVG")],
  };
}

/** Whether an axis is better logarithmic: all above zero, over more than a hundredfold. */
export function isLog(values) {
  let least = Infinity;
  let largest = -Infinity;
  for (const value of values) {
    if (typeof value !== "number") continue;
    if (value <= 0) return false;
    least = Math.min(least, value);
    largest = Math.max(largest, value);
  }
  return largest > 100 * least;
}

/** Colour number i. */
export function colour(i) {
  return PALETTE[i % PALETTE.length];
}

/** A colour for a share from 0 to 1: viridis, roughly. */
export function shade(share) {
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [220, 200, 40]];
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  const mix = stops[i].map((v, k) => Math.round(v + (at - i) * (stops[i + 1][k] - v)));
  return `rgb(${mix.join(",")})`;
}
