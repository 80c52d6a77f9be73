// Elements. Every text goes through a text node, so nothing of a results folder is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** An HTML element: `el("a", {href: "/"}, "text", other)`. Listeners are functions under `onclick` and the like. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A link within the application; the address holds all that is needed to show the view again. */
export function link(href, attributes, ...children) {
  return el("a", { href, "data-inside": true, ...attributes }, ...children);
}

/** A command to copy. */
export function command(words) {
  const copy = el("button", { class: "copy", title: "copy", "aria-label": `copy: ${words}` }, "copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(words);
      copy.textContent = "copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      copy.textContent = "selected";
    }
  });
  const code = el("code", {}, words);
  return el("div", { class: "command" }, code, copy);
}

/** Names and values. */
export function pairs(entries) {
  return el("dl", {}, entries.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** A message about what is not as it should be. */
export function problem(text) {
  return el("p", { class: "problem", role: "alert" }, text);
}

/** A value as short text: six digits, `-` for nothing. */
export function shown(value) {
  if (value === null || value === undefined) return "-";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(4).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(6)));
}

/** A count with separators. */
export function many(count) {
  return count === null || count === undefined ? "?" : count.toLocaleString("en-GB");
}

/** Save an SVG drawing as a file, as SVG or, twice as large, as PNG. */
export async function saveDrawing(drawing, name, form) {
  const copy = drawing.cloneNode(true);
  const box = drawing.getBoundingClientRect();
  const style = getComputedStyle(document.body);
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  copy.setAttribute("style", `background:${style.backgroundColor};color:${style.color};font:12px sans-serif`);
  const inside = drawing.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((element, i) => {
    const now = getComputedStyle(inside[i]);
    for (const property of ["fill", "stroke", "stroke-width", "stroke-opacity", "font-size", "text-anchor"]) {
      element.style.setProperty(property, now.getPropertyValue(property));
    }
  });
  const data = new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
  if (form === "svg") return save(data, `${name}.svg`);
  const image = new Image();
  const address = URL.createObjectURL(data);
  image.src = address;
  await image.decode();
  const canvas = el("canvas", { width: box.width * 2, height: box.height * 2 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((done) => canvas.toBlob((blob) => done(save(blob, `${name}.png`)), "image/png"));
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
