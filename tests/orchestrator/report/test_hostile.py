"""Pages of strangers' folders: whatever a name or an error holds is text to read, never HTML or Markdown to obey."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure as Picture

from landsweep import Zoo
from landsweep.orchestrator.report import render
from landsweep.orchestrator.report.parts import Figure, PageSection, Report, Table
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.zoo.card import size_category, write_card
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.hostile import HOSTILE, Elements


def rows_of(evil: str) -> pd.DataFrame:
    """One row that ended well, one that failed; every text in them is hostile."""
    meters: dict[str, Any] = {"attempt": 1, "worker": evil, "ended": 1e9, "seconds": 1.0, "cpu_seconds": 1.0}
    lines = [
        {"key": evil, evil: evil, "loss": 1.0, "told": evil, "status": "ok", "cause": None, "error": None},
        {"key": evil * 2, evil: "b", "loss": 2.0, "told": "b", "status": "failed", "cause": evil, "error": f"{evil}\n"},
    ]
    return pd.DataFrame([{**line, **meters, "peak_memory": 9.0} for line in lines])


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_field_of_a_report_becomes_an_element(evil: str, tmp_path: Path) -> None:
    spec = {"name": evil, "kind": evil, "description": evil, evil: {evil: [evil]}}
    head = {
        "spec": spec, "fingerprint": evil, "git_commit": evil, "host": evil, "command": [evil], "folder": evil,
        "versions": {evil: evil}, "created": 0.0, "params": [Column(evil, evil, type="text")],
        "columns": [Column("loss", evil, evil), Column("told", evil, evil, "text")],
    }  # fmt: skip
    picture = Picture()
    picture.add_subplot().set(title=evil, xlabel=evil)
    chart = go.Figure(go.Scatter(x=[evil, "b"], y=[1, 2], name=evil, hovertemplate=evil), {"title": evil})
    parts = [evil, Table(evil, [evil], [[evil]], name=evil), Figure(evil, evil, picture, chart)]
    for report in (Report([PageSection(evil, parts)], {evil: 1.0}), Report(())):
        page = render(report, head, rows_of(evil), pd.DataFrame(), tmp_path).read_text(encoding="utf-8")
        found = Elements(page)
        assert found.evil == []
        assert found.text.count("evil") > 12, "all of it is there to read"
        assert "could not be drawn" not in found.text
        assert not re.search("[\x1b\x9b\u202e]", found.text)
        assert "<evil" not in page and "<img src=evil" not in page
    names = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()]
    assert all(re.fullmatch(r"report/((figures|tables)/)?\.?[\w.-]+", str(name)) for name in names)


@pytest.fixture(scope="module")
def zoo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small models of two recipes, one of which diverges."""
    recipe = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [4]}, "steps": 4, "batch_size": 16}
    base = {**recipe, "optimizer": {"method": "sgd", "learning_rate": 0.1}, "evaluate": {"every_steps": 2}}
    spec = ZooKind.spec.model_validate(
        {
            "name": "zoo", "recipe": base, "seeds": {"range": 2}, "backend": "loop",
            "recipes": {"a": {}, HOSTILE[0]: {"optimizer.learning_rate": 1e30}},
        }
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("zoo")
    run_example(ZooKind(), spec, folder)
    return folder


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_field_of_a_card_becomes_an_element(evil: str, zoo_folder: Path, tmp_path: Path) -> None:
    head = json.loads((zoo_folder / "sweep.json").read_text())
    head |= {"name": evil, "fingerprint": evil, "git_commit": evil, "host": evil, "versions": {evil: evil}}
    head["spec"] |= {"description": evil, "licence": evil, "name": evil}
    zoo = Zoo(zoo_folder)
    zoo.models.head = head
    zoo.rows["error"] = evil
    zoo.rows["checkpoints"] = evil
    readme, page = write_card(zoo, tmp_path)
    found = Elements(page.read_text(encoding="utf-8"))
    assert found.evil == [] and found.text.count("evil") > 6
    text = readme.read_text(encoding="utf-8").split("---\n", 2)[2]  # below what the hub reads
    shown = Elements(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    assert shown.evil == [] and shown.text.count("evil") > 6
    names = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()]
    assert all(re.fullmatch(r"((figures|tables)/)?[\w.-]+", str(name)) for name in names)


@pytest.mark.parametrize(
    ("models", "size"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**12 - 1, "100B<n<1T"), (10**12, "n>1T")],
)
def test_the_card_names_its_size_as_the_hub_does(models: int, size: str) -> None:
    assert size_category(models) == size
