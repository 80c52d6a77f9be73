// Which page an address shows, and going from one to the next without loading the application again.

import { el, link, problem } from "./dom.js";
import { showCompare } from "./compare.js";
import { showSql } from "./sql.js";
import { showSweep } from "./sweep.js";
import { showSweeps } from "./sweeps.js";
import { showUnit } from "./unit.js";

const ROUTES = [
  [/^\/$/, showSweeps],
  [/^\/sweep\/([^/]+)$/, showSweep],
  [/^\/unit\/([^/]+)\/([^/]+)$/, showUnit],
  [/^\/compare$/, showCompare],
  [/^\/sql$/, showSql],
];

let leave = () => {};

async function show() {
  leave();
  leave = () => {};
  const ends = [];
  let left = false;
  leave = () => {
    left = true;
    for (const end of ends) end();
  };
  const page = el("main", { id: "page" });
  document.getElementById("page").replaceWith(page);
  document.getElementById("top").replaceChildren(
    link("/", { class: "home" }, "landsweep"),
    el("nav", { id: "path" }),
    el("nav", { class: "tools" }, link("/", {}, "sweeps"), link("/sql", {}, "SQL")),
  );
  const context = {
    page,
    onLeave: (end) => (left ? end() : ends.push(end)),
    isLeft: () => left,
    title: (text, ...path) => {
      document.title = `${text} - landsweep`;
      if (!left) document.getElementById("path").replaceChildren(...path.flatMap((part) => [" / ", part]));
    },
  };
  for (const [pattern, run] of ROUTES) {
    const found = location.pathname.match(pattern);
    if (!found) continue;
    try {
      await run(context, ...found.slice(1).map(decodeURIComponent));
    } catch (error) {
      if (!left) page.append(problem(error.message));
    }
    return;
  }
  page.append(problem("There is no such page."));
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[data-inside]");
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", anchor.getAttribute("href"));
  scrollTo(0, 0);
  show();
});
addEventListener("popstate", show);
show();
