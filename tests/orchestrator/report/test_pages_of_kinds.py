"""Pages of every kind: text that a user or a unit controls is shown and never becomes an element or an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from landsweep.orchestrator.commands.publish import make_page
from landsweep.orchestrator.report.html import FailuresView, FigureView, Page, PageWriter, page_html
from landsweep.orchestrator.report.parts import PageSection, Table
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.command.kind import CommandKind
from landsweep.sweeps.function.kind import FunctionKind
from landsweep.sweeps.landscape.kind import LandscapeKind
from landsweep.sweeps.measure.kind import MeasureKind
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.search.kind import SearchKind
from landsweep.sweeps.transfer.kind import TransferKind
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.hostile import HOSTILE, Elements

PIECES = (
    *HOSTILE, "{{ 7*7 }}", "{% raw %}", "<!--", "-->", "]]>", "<svg/onload=evil()>", "&lt;evil&gt;", "x" * 3000, "\x00",
)  # fmt: skip
EVIL = " ".join(["{{ 7*7 }}", *PIECES])  # the first of it is seen where text is cut
SMALL = {
    "data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [4]}, "steps": 4, "batch_size": 32,
    "optimizer": {"method": "sgd", "learning_rate": 0.1}, "evaluate": {"every_steps": 2},
}  # fmt: skip


_PROGRAM = (
    "import json, os, sys; open(os.environ['LANDSWEEP_METRICS'], 'w').write(json.dumps(dict(loss=float(sys.argv[2]), "
    "told=sys.argv[1]))); print(sys.argv[1]); sys.exit(sys.argv[1] if float(sys.argv[2]) > 1 else 0)"
)
_CLAIMS = [{"says": EVIL, "holds": "1 < 2", "source": EVIL, "scale": EVIL, "exact": True}]
SPECS: dict[type[Any], dict[str, Any]] = {
    FunctionKind: {
        "function": "tests.support.hostile:said",
        "axes": {"text": {"values": list(HOSTILE)}, "x": {"values": [0.0, 0.5, 2.0]}},
        "columns": {"loss": {"doc": EVIL, "unit": "<evil>"}, "told": {"type": "text", "doc": EVIL}},
    },
    SearchKind: {
        "function": "tests.support.hostile:said",
        "space": {"text": {"choice": list(HOSTILE)}, "x": {"uniform": [0, 1.2]}},
        "goals": [{"minimise": "loss"}], "budget": {"units": 12},
    },
    ZooKind: {
        "recipe": SMALL, "recipes": {HOSTILE[0]: {}, HOSTILE[1]: {"optimizer.learning_rate": 0.05}},
        "seeds": {"range": 2}, "licence": EVIL, "backend": "loop",
    },
    TransferKind: {
        **{k: v for k, v in TransferKind().example().model_dump(mode="json").items() if k not in ("kind", "name")},
        "recipes": {HOSTILE[0]: {}, HOSTILE[3]: {"optimizer.beta1": 0.8}},
    },
    LandscapeKind: {},
    ScalingKind: {},
    CommandKind: {
        "command": ["{python}", "-I", "-S", "-c", _PROGRAM, "{text}", "{x}"],
        "axes": {"text": {"values": [t.replace("\x9b", "") for t in HOSTILE]}, "x": {"values": [0.0, 2.0]}},
        "columns": {"loss": {"doc": EVIL, "unit": "<evil>"}, "told": {"type": "text", "doc": EVIL}},
        "claims": _CLAIMS,
    },
    MeasureKind: {**MeasureKind().example().model_dump(mode="json"), "claims": _CLAIMS},
}  # fmt: skip


_LONG = {CommandKind, MeasureKind}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.slow) if kind in _LONG else kind for kind in SPECS],
    ids=lambda kind: kind.name,
)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    kind = request.param()
    given = SPECS[request.param] or kind.example().model_dump(mode="json")
    spec = parse(kind.spec, {**given, "kind": kind.name, "name": "hostile", "description": EVIL}, "test")
    folder = tmp_path_factory.mktemp(kind.name)
    run_example(kind, spec, folder)
    return kind, spec, folder


def poisoned(value: Any) -> Any:
    """Nested data with hostile text in place of every text, and hostile names beside every name."""
    if isinstance(value, Mapping):
        return {f"{k}{EVIL if i == 0 else ''}": poisoned(v) for i, (k, v) in enumerate(value.items())}
    if isinstance(value, list | tuple):
        return [poisoned(v) for v in value]
    return EVIL if isinstance(value, str) else value


def test_no_text_of_any_kind_becomes_an_element(results: tuple[Any, Any, Path], tmp_path: Path) -> None:
    kind, spec, folder = results
    sweep = Sweep.at(folder)
    rows, series = sweep.rows(), sweep.series()
    keys = {key: f"{key}{EVIL}" for key in rows["key"]}
    rows["key"], series["key"] = rows["key"].map(keys), series["key"].map(keys)
    rows[["error", "worker"]] = EVIL
    rows.loc[rows.index[-1], ["status", "cause"]] = ["failed", EVIL]
    head = {
        **poisoned({k: sweep.manifest[k] for k in ("fingerprint", "versions", "git_commit", "host")}),
        "spec": {**poisoned(sweep.manifest["spec"]), "name": EVIL, "kind": EVIL, "description": EVIL},
        "created": 0.0, "folder": EVIL, "command": [EVIL], "params": kind.params(spec), "columns": kind.columns(spec),
    }  # fmt: skip
    page, _ = make_page(kind, spec, head, rows, series, tmp_path)
    html = page.read_text(encoding="utf-8")
    elements = Elements(html)
    assert elements.evil == []
    assert elements.text.count("evil") > 12 and "{{ 7*7 }}" in elements.text, "all of it is there to read"
    assert "could not be drawn" not in elements.text
    assert "<evil" not in html and "<svg/" not in html and "<img src=evil" not in html


class Skeleton(HTMLParser):
    """Elements and attributes' names in order: what text must never change."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shape: list[object] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.shape.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.shape.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.shape.append(("declaration", decl))

    def unknown_decl(self, data: str) -> None:
        self.shape.append(("declaration", data))

    def handle_pi(self, data: str) -> None:
        self.shape.append(("instruction", data))


FIELDS = (
    "title", "kind", "intro", "tile", "command", "failure", "traceback", "question", "answer", "deed", "typed",
    "section", "paragraph", "caption", "header", "cell", "figure", "problem", "fact", "value", "spec_title", "spec",
)  # fmt: skip


def page(text: Mapping[str, str], folder: Path) -> str:
    """A page with a text in each field."""
    writer = PageWriter(folder)
    table = Table(text["caption"], [text["header"], "b"], [[text["cell"], 1.0]])
    section = writer.section(PageSection(text["section"], [text["paragraph"], table]))
    figure = FigureView("name", text["figure"], image=Markup("data:,"), problem=text["problem"])
    views = [section, type(section)(text["section"], [("figure", figure)])]
    failed = FailuresView(text["command"], writer.table(table), {text["failure"]: text["traceback"]})
    return page_html(
        Page(
            text["title"],
            views,
            {text["fact"]: text["value"]},
            text["spec_title"],
            text["spec"],
            kind=text["kind"],
            intro=text["intro"],
            tiles=[("ok", text["tile"], "1")],
            failed=failed,
            question=text["question"],
            answer=text["answer"],
            lead=figure,
            verdicts=section,
            tables=[section],
            commands={text["deed"]: text["typed"]},
        )
    )


def hostile_texts() -> st.SearchStrategy[str]:
    pieces = st.one_of(st.sampled_from(PIECES), st.text(max_size=12), st.sampled_from("<>&\"'/=`{}%!-\x00\n "))
    return st.lists(pieces, min_size=1, max_size=5).map("".join)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(hostile_texts(), min_size=len(FIELDS), max_size=len(FIELDS)))
def test_a_pages_elements_do_not_depend_on_its_texts(texts: list[str], tmp_path: Path) -> None:
    plain = Skeleton(page({field: f"plain {field}" for field in FIELDS}, tmp_path))
    hostile = Skeleton(page({f: f"x{t}" for f, t in zip(FIELDS, texts, strict=True)}, tmp_path))
    assert hostile.shape == plain.shape


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_shown_and_escaped(field: str, tmp_path: Path) -> None:
    html = page({f: EVIL if f == field else f"plain {f}" for f in FIELDS}, tmp_path)
    assert "{{ 7*7 }}" in "".join(Skeleton(html).texts), "shown as it stands, not computed"
    assert "<evil" not in html and 'onload="evil' not in html and "<script>evil" not in html
