"""The specs of papers: they can be planned, say what one gets, run small, and stand on the page."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from landsweep import Results, run
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.run.sweep import load_spec
from tests.support.paths import ROOT, SHIPPED_SPECS

FOLDER, DOCS = SHIPPED_SPECS / "papers", ROOT / "docs/papers"
PAPERS: list[dict[str, Any]] = read_yaml(DOCS / "list.yaml")["papers"]
SPECS: dict[str, dict[str, Any]] = {
    name: settings or {} for paper in PAPERS for name, settings in (paper.get("specs") or {}).items()
}
NAMES = sorted(SPECS)
PUBLISHED = "LANDSWEEP_PUBLISHED_DATA"  # the variable that names the folder of published loss curves


def parents(name: str) -> list[str]:
    """Specs whose results it reads."""
    return re.findall(r"results/(\w+)", (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").partition("kind:")[2])


def run_small(name: str, folder: Path) -> Results:
    """A spec with the overrides of the list, after those whose results it reads; skipped without its data."""
    if PUBLISHED in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8") and PUBLISHED not in os.environ:
        pytest.skip(f"{name} reads the published loss curves: {PUBLISHED} must name their folder")
    changes = list(SPECS[name].get("small", ()))
    for parent in parents(name):
        if not (folder / parent).is_dir():
            run_small(parent, folder)
        field = SPECS[name].get("parent", "of.0.sweep")
        changes.append(f"{field[parent] if isinstance(field, dict) else field}={folder / parent}")
    return run(FOLDER / f"{name}.yaml", *changes, site={"executor": "local"}, out=folder / name, report=False)


def test_every_paper_has_specs_that_are_there_or_a_reason() -> None:
    assert set(SPECS) <= {file.stem for file in FOLDER.glob("*.yaml")}  # others are of further papers
    assert len({paper["arxiv"] for paper in PAPERS}) == len(PAPERS) == 60
    for paper in PAPERS:
        assert paper.get("specs") or paper.get("missing"), paper["title"]


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_can_be_planned_and_its_head_says_what_one_gets(name: str) -> None:
    file = FOLDER / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    if parents(name):  # its models are those of another spec
        assert all((FOLDER / f"{parent}.yaml").is_file() for parent in parents(name))
        fields = read_yaml(file)
        spec = kind_named(fields["kind"]).parse(fields, file.name)
    else:
        kind, spec = load_spec(file)
        assert kind.planner(spec).ask(1)
    assert spec.name == file.stem
    assert any(paper["arxiv"].replace(".", "_") in name for paper in PAPERS)
    head = text[: text.index("kind:")]
    for word in ("Command: landsweep run", "cores", "see") if spec.claims else ():
        assert word in head, f"the head lacks {word!r}"
    assert spec.claims or any(name in parents(other) for other in SPECS), "it claims nothing, and nothing stands on it"
    assert all(claim.source for claim in spec.claims), "a claim needs its source"


def test_one_spec_a_day_runs_small(tmp_path: Path) -> None:
    """Another one each day, so that all of them run now and then; the slow tests run all."""
    name = NAMES[date.today().toordinal() % len(NAMES)]
    results = run_small(name, tmp_path)
    assert len(results) and set(results.rows["status"]) <= {"ok", "diverged"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_spec_runs_small_and_its_claims_can_be_judged(name: str, tmp_path: Path) -> None:
    results = run_small(name, tmp_path)
    assert len(results) and set(results.rows["status"]) <= {"ok", "diverged"}
    assert results.report.sections
    assert len(results.report.verdicts) == len(results.spec["claims"])


def test_printed_values_belong_to_claims_and_stand_on_the_page() -> None:
    lines = (ROOT / "docs/papers.md").read_text(encoding="utf-8").splitlines()
    printed = {name: settings["printed"] for name, settings in SPECS.items() if "printed" in settings}
    assert sum(len(values) for values in printed.values()) >= 15
    for name, values in printed.items():
        claims = read_yaml(FOLDER / f"{name}.yaml")["claims"]
        for number, value in values.items():
            says = claims[int(number) - 1]["says"]
            head = next(i for i, line in enumerate(lines) if f"[{name}](" in line)  # later claims name no spec
            line = lines[head + int(number) - 1]
            assert f"| {says} |" in line and line.split(" | ")[-2] == value


def test_the_page_has_a_line_for_every_paper_and_small_figures() -> None:
    page = (ROOT / "docs/papers.md").read_text(encoding="utf-8")
    for paper in PAPERS:
        assert f"](https://arxiv.org/abs/{paper['arxiv']})" in page, paper["title"]
    for file in DOCS.glob("*.json"):
        assert file.stem in SPECS
        kept = json.loads(file.read_text(encoding="utf-8"))
        said = read_yaml(FOLDER / f"{file.stem}.yaml").get("claims", [])
        assert [c["says"] for c in kept["claims"]] == [c["says"] for c in said], "claims changed: run it again"
    for picture in DOCS.glob("*.png"):
        assert picture.stat().st_size <= 60_000


@pytest.mark.parametrize("width", [3, 12])  # inches: a figure that is kept in size, and one that is made narrower
def test_small_figures_keep_the_colours_of_thin_lines(width: int) -> None:
    script = importlib.util.spec_from_file_location("papers_run", DOCS / "run.py")
    assert script is not None and script.loader is not None
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    colours = {"#0072B2": (0, 114, 178), "#E69F00": (230, 159, 0), "#009E73": (0, 158, 115), "#D55E00": (213, 94, 0)}
    figure = Figure(figsize=(width, 2 * width / 3))
    axes = figure.subplots()
    for i, colour in enumerate(colours):
        axes.plot([0, 1, 2], [i, i + 3, i], color=colour)
        axes.fill_between([0, 1, 2], [i - 1, i, i - 1], [i, i + 3, i], color=colour, alpha=0.15)
    pixels = np.asarray(Image.open(io.BytesIO(module.small(figure))).convert("RGB")).reshape(-1, 3).astype(float)
    for colour, rgb in colours.items():
        assert np.abs(pixels - rgb).max(axis=1).min() < 30, colour
