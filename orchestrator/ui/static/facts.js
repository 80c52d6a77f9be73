// The tabs that tell: the kind's own figures, what failed and why, and how the sweep was made.

import { address, ask, of } from "./api.js";
import { command, el, link, many, pairs, problem } from "./dom.js";
import { figure } from "./plots.js";

export async function figuresTab(host, sweep) {
  const waiting = el("p", { class: "faint" }, "The kind's figures are being made...");
  host.append(waiting);
  const report = await ask(of(sweep.id, "report"));
  if (!host.isConnected) return null;
  waiting.remove();
  const newer = el("p", { hidden: true }, el("button", { class: "button" }, "There are new rows: draw again"));
  newer.firstChild.addEventListener("click", () => host.replaceChildren() ?? figuresTab(host, sweep));
  host.append(newer);
  if (report.answer) host.append(el("p", { class: "answer" }, report.answer));
  if (Object.keys(report.summary).length) host.append(pairs(Object.entries(report.summary)));
  for (const section of report.sections) {
    host.append(el("h2", {}, section.title));
    for (const part of section.parts) host.append(await partOf(part, sweep));
  }
  host.append(el("p", { class: "faint" }, `From ${many(report.rows)} units of the plan.`));
  for (const drawing of host.querySelectorAll("[data-figure]")) await drawInteractive(drawing, sweep);
  return { live: () => { newer.hidden = false; } };
}

async function drawInteractive(drawing, sweep) {
  const name = drawing.dataset.figure;
  try {
    const made = await ask(of(sweep.id, "figures", name, "json"));
    if (drawing.isConnected) await figure(drawing, made, name);
  } catch (error) {
    drawing.replaceChildren(problem(error.message));
  }
}

function partOf(part, sweep) {
  if (part.text !== undefined) return el("p", {}, part.text);
  if (part.table) return tableOf(part);
  const { name, drawn, interactive } = part.figure;
  const file = (form) => address(of(sweep.id, "figures", name, form), form === "png" ? { download: 1, version: sweep.about.version } : {});
  const shown = interactive
    ? el("div", { class: "plot light", "data-figure": name })
    : drawn ? el("img", { src: address(of(sweep.id, "figures", name, "png"), { version: sweep.about.version }), alt: part.caption, loading: "lazy" })
      : el("p", { class: "faint" }, "This figure can only be seen in the report.");
  const files = drawn ? el("p", { class: "files" }, [["png", "PNG"], ["svg", "SVG"], ["csv", "numbers as CSV"]].map(([form, words]) => el("a", { href: file(form) }, words))) : null;
  return el("figure", {}, shown, files, el("figcaption", {}, part.caption));
}

function tableOf(part) {
  const { header, lines, right } = part.table;
  const kind = (i) => (right[i] ? "number" : "");
  return el("figure", { class: "table" }, el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, header.map((h, i) => el("th", { class: kind(i) }, h)))),
    el("tbody", {}, lines.map((cells) => el("tr", {}, cells.map((c, i) => el("td", { class: kind(i) }, c))))))),
  part.caption && el("figcaption", {}, part.caption));
}

export async function failuresTab(host, sweep) {
  const part = el("div", {});
  host.append(part);
  async function draw() {
    const answer = await ask(of(sweep.id, "failures"));
    if (!part.isConnected) return;
    if (!answer.count) {
      part.replaceChildren(el("p", { class: "faint" }, "No unit has failed."));
      return;
    }
    const more = answer.grouped < answer.count ? `; the first ${many(answer.grouped)} are shown by what happened` : "";
    const again = sweep.about.commands["compute failed units again"];
    part.replaceChildren(
      el("p", {}, `${many(answer.count)} units have failed${more}. `, all()),
      command(again),
      ...answer.groups.map((group) => el("details", { class: "group", open: answer.groups.length === 1 },
        el("summary", {}, el("b", {}, `${many(group.count)} × `), group.cause && el("span", { class: "status failed" }, group.cause), " ", group.says),
        el("p", { class: "keys" }, group.keys.map((key) => link(`/unit/${sweep.id}/${encodeURIComponent(key)}`, {}, key.slice(0, 12))), group.count > group.keys.length && "..."),
        el("pre", { class: "error" }, group.error))));
  }
  await draw();
  return { live: draw };
}

function all() {
  const filter = JSON.stringify(["status", "=", "failed"]);
  return link(address(location.pathname, { filter }), {}, "Show them in the table");
}

export async function factsTab(host, sweep) {
  const draw = () => host.replaceChildren(...facts(sweep));
  draw();
  return { described: draw };
}

function facts(sweep) {
  const { about } = sweep;
  return [
    el("p", { class: "faint" }, about.says),
    el("h2", {}, "Commands"), el("p", { class: "faint" }, "This page only looks on. To act, type:"),
    ...Object.entries(about.commands).map(([what, words]) => [el("p", { class: "faint" }, what), command(words)]).flat(),
    el("h2", {}, "How it was made"), pairs([["folder", about.where], ...Object.entries(about.facts)]),
    el("h2", {}, "The spec"), el("pre", {}, about.spec), el("p", { class: "files" }, el("a", { href: of(sweep.id, "spec.yaml") }, "as a file")),
    el("h2", {}, "Columns"), columnTable(sweep),
    ...(sweep.kindProblem ? [problem(`The kind could not be asked: ${sweep.kindProblem}`)] : []),
  ];
}

function columnTable(sweep) {
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["column", "what", "type", "unit", "meaning"].map((h) => el("th", {}, h)))),
    el("tbody", {}, sweep.columns().map((c) => el("tr", {}, [c.shown, c.role, c.type, c.unit, c.doc].map((t) => el("td", {}, t)))))));
}
