"""Runs the specs of papers, one after another, and writes docs/papers.md with a figure of each.

Command: python docs/papers/run.py [NAME...]; `make papers` runs all of them. A spec whose results are complete is only
judged again, so the command goes on where it was stopped. What a run gave is kept beside this file, as NAME.json and
NAME.png; the page is made from these, so a few specs can be run anew without the others.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from landsweep import Results, run
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.reading import read_yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPECS = ROOT / "sweeps/specs/papers"
PAGE = ROOT / "docs/papers.md"
WIDEST, MOST_BYTES = 900, 60_000  # of a figure, in pixels and in bytes

HEAD = """# The papers of the field, run here

Each line is a claim of a paper and what was seen when a spec of its experiment was run on two shared CPU cores. A claim
is *held* where its 95 % interval lies on the right side, *not held* where it lies on the wrong one, *undecided* where
it crosses the line ([how](reports.md#claims)). For limits that are found by halving, the interval is the bracket that
the search ended with, not one of 95 %. Where the paper prints or proves a number for a claim, it stands beside
ours. Most experiments are far smaller than the paper's: the last column says what differs, and the head of each spec
how to run it at the paper's size. A claim that does not hold here says nothing against the paper. Seconds are
processor time.

`make papers` runs all of them and writes this page; `landsweep run NAME` runs one.
[Papers without a spec](#not-here-yet) are at the end.

"""


def papers() -> list[dict[str, Any]]:
    """The papers of `list.yaml`, in its order: title, arXiv id, specs, and what is missing."""
    return list(read_yaml(HERE / "list.yaml")["papers"])


def specs(chosen: list[str]) -> dict[str, dict[str, Any]]:
    """Names of specs, parents before children, with the settings of `list.yaml`.

    Raises:
        SystemExit: there is no spec of a chosen name.
    """
    every = {name: settings or {} for paper in papers() for name, settings in (paper.get("specs") or {}).items()}
    if unknown := sorted(set(chosen) - set(every)):
        raise SystemExit(f"list.yaml has no spec {', '.join(unknown)}")
    return {name: every[name] for name in chosen or every}


def record(name: str, results: Results, seconds: float, figure: str | None) -> None:
    """Keep what the run of a spec gave: units, seconds, verdicts and one figure.

    Raises:
        UsageError: the report has no figure of that name, or it can't be made small enough.
    """
    kept = HERE / f"{name}.json"
    if results.status["new"] < len(results) and kept.is_file():  # what was computed before counts
        seconds = json.loads(kept.read_text(encoding="utf-8"))["seconds"] + (seconds if results.status["new"] else 0)
    claims = [
        {"says": v.claim.says, "verdict": v.outcome.value, "numbers": v.numbers, "basis": v.reason,
         "source": v.claim.source, "scale": v.claim.scale}
        for v in results.report.verdicts
    ]  # fmt: skip
    fields = {"kind": results.kind, "units": len(results), "seconds": round(seconds, 1), "claims": claims}
    kept.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    figures = results.figures
    if not figures or figure == "":
        return
    if figure is not None and figure not in figures:
        raise UsageError(f"{name}: the report has no figure {figure!r}; it has {', '.join(figures)}")
    (HERE / f"{name}.png").write_bytes(small(figures[figure or next(iter(figures))].figure))


def small(figure: Any) -> bytes:  # noqa: ANN401 - matplotlib has no types
    """A figure as a PNG of 256 colours, drawn narrower until it has at most 60 kB.

    Each width is drawn anew: what is drawn large and then scaled down has so many shades at its edges that few colours
    are left for what it shows.
    """
    inches = Image.open(_drawn(figure, 100)).width / 100
    for width in range(min(WIDEST, round(150 * inches)), 200, -50):
        picture = Image.open(_drawn(figure, width / inches)).convert("RGB")
        small = io.BytesIO()
        # Without the last two settings lines of a legend may come out in one colour.
        few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        few.save(small, format="png", optimize=True)
        if len(small.getvalue()) <= MOST_BYTES:
            return small.getvalue()
    raise UsageError("the figure can't be made small enough")


def _drawn(figure: Any, dots: float) -> io.BytesIO:  # noqa: ANN401
    """A figure as a PNG with so many pixels to the inch."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots, bbox_inches="tight")
    return file


def page() -> str:
    """The page, from `list.yaml` and what runs have left."""
    files = {name: HERE / f"{name}.json" for name in specs([])}
    records = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    lines, gallery, missing = [], [], []
    for paper in papers():
        title = f"[{paper['title']}](https://arxiv.org/abs/{paper['arxiv']})"
        known = [name for name in paper.get("specs") or {} if name in records]
        for name in known:
            printed = (paper["specs"][name] or {}).get("printed", {})
            claims = enumerate(records[name]["claims"], 1)
            lines += [_line(title, name, records[name], claim, printed.get(str(i), ""), i == 1) for i, claim in claims]
            if (HERE / f"{name}.png").is_file():
                gallery.append(f"### {paper['title']}\n\n![{name}](papers/{name}.png)\n\n`{name}`\n")
        waiting = [name for name in paper.get("specs") or {} if name not in records]
        needed = [f"`{', '.join(waiting)}` has not been run for this page yet."] if waiting else []
        needed += [paper["missing"]] if paper.get("missing") else []
        if needed:
            missing.append(f"| {title} | {' '.join(needed)} |")
    verdicts = [claim["verdict"] for r in records.values() for claim in r["claims"]]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("held", "not held", "undecided") if v in verdicts)
    ran = sum(any(name in records for name in paper.get("specs") or {}) for paper in papers())
    seconds = sum(r["seconds"] for r in records.values())
    return "\n".join(
        [
            f"{HEAD}{ran} of {len(papers())} papers, {len(records)} specs, {seconds:.0f} seconds of processor time.",
            f"Claims: {counts}.\n",
            "| paper | spec | units, seconds | claim | verdict | numbers [95 % interval] | printed | what differs |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "\n## Gallery\n",
            *gallery,
            "## Not here yet\n",
            "Papers without a spec, and what the specs above leave out.\n",
            "| paper | what would be needed |",
            "|---|---|",
            *missing,
            "",
        ]
    )


def _line(title: str, name: str, kept: dict[str, Any], claim: dict[str, str], printed: str, first: bool) -> str:
    """One claim of one spec, and what the paper prints or proves for it; the first one names paper and spec."""
    numbers = claim["numbers"] if claim["numbers"] != "-" else claim["basis"]
    head = [title, f"[{name}](../sweeps/specs/papers/{name}.yaml)", f"{kept['units']}, {kept['seconds']:.0f}"]
    words = [*(head if first else [""] * 3), claim["says"], claim["verdict"], numbers, printed, claim["scale"]]
    return f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |"


def main(chosen: list[str]) -> int:
    """Run, record, and write the page; returns 1 if a spec could not be run to its end."""
    bad = []
    os.chdir(ROOT)  # paths in shipped specs are relative to where one stands
    for name, settings in specs(chosen).items():
        print(f"== {name}", flush=True)  # noqa: T201 - the output of a script
        start = time.process_time()
        try:
            file = SPECS / f"{name}.yaml"
            results = run(file, site={"executor": "local"}, out=ROOT / "results" / name, report=False)
            if results.status["phase"] != "done":  # Ctrl-C
                return 3
            record(name, results, time.process_time() - start, settings.get("figure"))
        except UsageError as e:
            print(f"{name}: {e}", file=sys.stderr)  # noqa: T201
            bad.append(name)
            continue
        for verdict in results.report.verdicts:
            print(f"  {verdict.in_words()}: {verdict.numbers}; {verdict.reason}")  # noqa: T201
        print(f"  figures: {', '.join(results.figures)}")  # noqa: T201
    PAGE.write_text(page(), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
