"""Links in a results folder: nothing is written through them, and what they lead to is not published."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landsweep import Zoo
from landsweep.orchestrator.errors import LandsweepError, Untrusted, UsageError
from landsweep.orchestrator.storage.inside import is_name, no_links, refuse_link, write_in
from landsweep.orchestrator.storage.store import Store, views
from landsweep.sweeps.zoo.export import export_zoo
from tests.attack.folders import ZOO, command, ran
from tests.support.cli import write_spec


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("links"), ZOO)


@pytest.fixture
def results(own: Path, tmp_path: Path) -> Path:
    shutil.copytree(own, tmp_path / "stranger")
    return tmp_path / "stranger"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Files of the user's, elsewhere."""
    folder = tmp_path / "precious"
    folder.mkdir()
    for name in ("a.png", "b.png", "rc", "secret.safetensors", "README.md", "x#1", "t.csv"):
        (folder / name).write_text(f"precious {name}")
    return folder


def untouched(folder: Path) -> bool:
    return all(p.read_text() == f"precious {p.name}" for p in folder.iterdir()) and len(list(folder.iterdir())) == 7


LINKS = {  # below the results: name of the link and where it leads, in the user's folder
    "report/figures": "",
    "report/tables": "",
    "report": "",
    "report/index.html": "rc",
    "report/figures/loss.png": "a.png",
    "report/.index.html.new": "rc",
    "report/notes": "secret.safetensors",
    "card": "",
    "card/README.md": "README.md",
    "card/card.html": "rc",
    "card/figures": "",
}


@pytest.mark.parametrize("name", LINKS)
def test_views_are_not_written_through_links(results: Path, precious: Path, name: str) -> None:
    shutil.rmtree(results / "report", ignore_errors=True)
    link = results / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(precious / LINKS[name])
    store = f"sqlite:///{results.parent}/mlflow.db"
    for words in (("report", results), ("zoo-card", results), ("export-mlflow", results, "--uri", store)):
        done = command(*words, cwd=results.parent)
        ours = name.startswith("card") == (words[0] == "zoo-card")
        assert done.returncode == (2 if ours else 0), (words, done.stderr)
        assert not ours or "is a link" in done.stderr
    assert untouched(precious)
    sent = [p.read_bytes() for p in results.parent.glob("**/mlflow-artifacts/**/*") if p.is_file()]
    assert not any(b"precious" in data for data in sent)


@pytest.mark.parametrize("folder", ["rows", "series", "weights", "states", "lock", "prepared", "retired", "damaged"])
def test_the_ledger_is_not_written_through_links(tmp_path: Path, precious: Path, folder: str) -> None:
    store = Store.at(tmp_path / "sweep")
    store.replace("sweep.json", b"{}")
    (tmp_path / "sweep" / folder).symlink_to(precious)
    for attempt in (
        lambda: store.create(f"{folder}/new", b"x"),
        lambda: store.replace(f"{folder}/rc", b"x"),
        lambda: store.delete(f"{folder}/rc"),
        lambda: store.move(f"{folder}/rc", "rows-2"),
        lambda: store.move("sweep.json", f"{folder}/rc"),
    ):
        with pytest.raises(Untrusted, match="is a link"):
            attempt()
    store.clean(folder)
    assert untouched(precious)


def test_a_file_that_is_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path, precious: Path) -> None:
    store = Store.at(tmp_path / "sweep")
    store.replace("a", b"x")
    (tmp_path / "sweep/status.json").symlink_to(precious / "rc")
    assert not store.create("status.json", b"new")
    store.replace("status.json", b"new")
    assert untouched(precious) and not (tmp_path / "sweep/status.json").is_symlink()


def test_a_results_folder_that_is_a_link_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "scratch")
    Store.at(tmp_path / "results").replace("rows/a", b"x")
    assert write_in(tmp_path / "results", "report/b", "y").read_text() == "y"
    assert (tmp_path / "scratch/rows/a").read_bytes() == b"x"


def test_what_a_killed_writer_had_begun_is_removed_later(tmp_path: Path) -> None:
    old, young, other = (
        tmp_path / f".{name}.new" for name in ("card.html.0000aaaa", "card.html.0000bbbb", "x.0000cccc")
    )
    for unfinished in (old, young, other):
        unfinished.write_text("half")
        os.utime(unfinished, (time.time(), time.time() - (0 if unfinished == young else 7200)))
    write_in(tmp_path, "card.html", "whole")
    assert not old.exists() and young.exists() and other.exists(), "another process may be at work on those"


@pytest.mark.parametrize("per_model", [False, True])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_an_export_publishes_no_target_of_a_link(results: Path, precious: Path, what: str, per_model: bool) -> None:
    weights = results / "weights"
    if what == "folder":
        weights.rename(precious.parent / "elsewhere")
        weights.symlink_to(precious.parent / "elsewhere")
    else:
        for file in list(weights.iterdir()):
            file.unlink()
            file.symlink_to(precious / "secret.safetensors")
    to = results.parent / "export"
    with pytest.raises(LandsweepError):
        export_zoo(Zoo(results), to, per_model=per_model)
    assert not any(b"precious" in p.read_bytes() for p in to.rglob("*") if p.is_file())
    assert untouched(precious)


@pytest.mark.parametrize("per_model", [False, True])
@pytest.mark.parametrize("what", ["rows", "rows/models.parquet", "series", "series/series.parquet", "sweep.json"])
def test_an_export_publishes_no_table_that_a_link_leads_to(
    results: Path, precious: Path, what: str, per_model: bool
) -> None:
    """The tables of an export are plain Parquet, so a link could lead to any table of the user's."""
    export_zoo(Zoo(results), results.parent / "first")
    linked, elsewhere = results.parent / "first" / what, precious.parent / "elsewhere"
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    with pytest.raises(Untrusted, match="is a link"):
        export_zoo(Zoo(results.parent / "first"), results.parent / "second", per_model=per_model)
    assert not list((results.parent / "second").rglob("*.*"))


def test_an_export_of_one_file_per_model_follows_no_link(results: Path) -> None:
    export_zoo(Zoo(results), results.parent / "first", per_model=True)
    file = sorted((results.parent / "first/models").rglob("*.safetensors"))[0]
    file.rename(results.parent / "private.safetensors")
    file.symlink_to(results.parent / "private.safetensors")
    with pytest.raises(Untrusted, match="is a link"):
        export_zoo(Zoo(results.parent / "first"), results.parent / "second", per_model=True)


def test_staging_files_of_a_killed_driver_are_removed(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own.parent.parent, tmp_path / "again")
    results = tmp_path / "again/results/own"
    left = []
    for folder in ("rows", "series", "prepared", "weights", "states", "retired", "damaged", "report"):
        (results / folder).mkdir(exist_ok=True)
        left.append(results / folder / "left-over.safetensors#1")
        left[-1].write_text("half")
    left.append(results / "report/figures/.x.png.0123abcd.new")
    left[-1].parent.mkdir(exist_ok=True)
    left[-1].write_text("half")
    words = ("--out", results, "site.executor=local", "site.tracking=false")
    assert command("run", tmp_path / "again/spec.yaml", *words, cwd=tmp_path).returncode == 0
    assert [p for p in left if p.exists()] == []


def test_reports_of_two_prefixes_lie_apart() -> None:
    urls = [f"{s}://{b}/{p}/fine" for s in ("s3", "gs") for b in ("a", "b") for p in ("x", "y", "x/y")]
    assert len({views(url) for url in urls}) == len(urls)
    assert views("s3://a/x/fine") == views("s3://a/x/fine/")
    assert all(views(url).parent == Path("results") for url in urls), "beside the tracking store"


@given(st.text())
@settings(max_examples=300)
def test_a_name_is_one_part_of_a_path(text: str) -> None:
    if is_name(text):
        assert Path(text).name == text and not text.startswith((".", "-")) and "\x00" not in text and text.isascii()


@pytest.mark.parametrize("depth", range(1, 5))
def test_links_are_refused_at_any_depth(tmp_path: Path, depth: int) -> None:
    place = tmp_path / "/".join("abcdefgh"[:depth])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to("/nowhere")
    for attempt in (lambda: refuse_link(tmp_path, place.relative_to(tmp_path) / "x"), lambda: no_links(tmp_path)):
        with pytest.raises(Untrusted):
            attempt()
    with pytest.raises(UsageError):
        write_in(tmp_path, place.relative_to(tmp_path) / "x", "y")


@pytest.mark.parametrize("kind", ["files", "the folder"])
@pytest.mark.parametrize("place", ["figures-small", "stranger/figures"])
def test_figures_are_not_written_through_links(results: Path, precious: Path, place: str, kind: str) -> None:
    folder = results.parent / place
    to = ("--out", folder) if "/" in place else ()  # by default beside the user, where an archive was unpacked
    if kind == "files":
        folder.mkdir()
        for name in ("settings.pdf", "settings.csv", "distribution.pdf", "distribution.csv"):
            (folder / name).symlink_to(precious / "rc")
    else:
        folder.symlink_to(precious)
    done = command("figures", results, *to, cwd=results.parent)
    assert done.returncode == 2 and "is a link" in done.stderr, done.stderr
    assert untouched(precious)
    shutil.rmtree(folder) if kind == "files" else folder.unlink()
    done = command("figures", results, *to, "--format", "png", cwd=results.parent)
    assert done.returncode == 0 and (folder / "settings.png").is_file(), done.stderr


def test_a_phase_diagram_is_not_written_through_links(precious: Path, tmp_path: Path) -> None:
    lines = [f"{w},{t},{5 - w / 9 - t / 7}" for w in (1, 2, 4, 8) for t in (1, 2, 3, 5)]
    (tmp_path / "table.csv").write_text("\n".join(["w,t,L", *lines]))
    (tmp_path / "rules.yaml").write_text(
        "{name: mine, version: 1, source: none, load: {doc: w, columns: [w]}, temperature: {doc: t, columns: [t]}, "
        "quantities: {l: {doc: l, columns: [L]}}, phases: [{label: A, when: l > 1, doc: a}]}"
    )
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "phases.csv").symlink_to(precious / "t.csv")
    done = command("phases", "table.csv", "--rules", "rules.yaml", "--out", "to", cwd=tmp_path)
    assert done.returncode == 2 and "is a link" in done.stderr, done.stderr
    assert untouched(precious)


@pytest.mark.parametrize("stage", ["first", "second"])
@pytest.mark.parametrize("leads", ["a folder", "nothing", "a sweep"])
def test_no_stage_is_run_through_a_link(stage: str, leads: str, own: Path, tmp_path: Path) -> None:
    """A folder for results that came from somebody, and has a link where the results of a stage will lie."""
    fields = {"kind": "function", "function": "landsweep.sweeps.function.examples:no_op", "axes": {"x": [0]}}
    spec = write_spec(tmp_path, {"name": "two", "stages": {"first": fields, "second": fields}})
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    out.mkdir()
    if leads == "a sweep":
        shutil.copytree(own, elsewhere)
    elif leads == "a folder":
        elsewhere.mkdir()
    before = sorted(elsewhere.rglob("*"))
    (out / stage).symlink_to(elsewhere)
    done = command("run", spec, "--out", out, "site.executor=local", "site.tracking=false", cwd=tmp_path)
    assert done.returncode == 2 and f"{out / stage} is a link" in done.stderr
    assert sorted(elsewhere.rglob("*")) == before and [p.name for p in out.iterdir()] == [stage]
