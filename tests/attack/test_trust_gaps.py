"""Rows that were changed in an own folder, files outside of a stranger's, and names of folders that say nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import Untrusted, UsageError
from landsweep.orchestrator.notes import is_own
from landsweep.orchestrator.trust import foreign_code, reading, refuse_files, refuse_new_code
from landsweep.sweeps.zoo.audit import regenerate
from tests.attack.folders import ZOO, command, mine, ran, rewritten, stranger

EVIL = "evil_row:f"
SWEPT = {  # by axis: what the rows are made to say
    "optimizer.name": EVIL,
    "net": json.dumps({"net": "own", "build": EVIL}),
    "data": json.dumps({"source": "callable", "path": EVIL}),
}
AXES: dict[str, list[Any]] = {
    "optimizer.name": ["torch.optim:Adagrad", "torch.optim:RMSprop"],
    "net": [{"net": "mlp", "hidden": [4]}, {"net": "mlp", "hidden": [5]}],
    "data": [{"source": "sparse_parity", "bits": bits, "relevant": 2, "train": 32, "test": 16} for bits in (6, 7)],
}


def with_text(rows: pa.Table, column: str, text: str) -> pa.Table:
    at = rows.schema.get_field_index(column)
    return rows.set_column(at, rows.schema.field(at), pa.array([text] * len(rows)))


def zoo_over(axis: str) -> dict[str, Any]:
    recipe = dict(ZOO["recipe"])  # type: ignore[call-overload]
    if axis == "optimizer.name":
        recipe["optimizer"] = {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.1}
    return {**ZOO, "recipe": recipe, "axes": {axis: AXES[axis]}}


@pytest.mark.parametrize("axis", SWEPT)
def test_rows_of_an_own_zoo_name_no_new_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: str) -> None:
    own = ran(tmp_path, zoo_over(axis))
    assert is_own(own, json.loads((own / "sweep.json").read_text()))
    for part in (own / "rows").glob("part*.parquet"):
        rewritten(part, lambda rows: with_text(rows, axis, SWEPT[axis]))
    mine(tmp_path, "evil_row", tmp_path / "trace")
    monkeypatch.syspath_prepend(str(tmp_path))
    for zoo in (Zoo(own), Zoo(own, trust=True)):
        for attempt in (lambda zoo=zoo: regenerate(zoo[0]), zoo[0].module, lambda zoo=zoo: zoo.recipe(zoo.keys[0])):
            with pytest.raises(Untrusted, match=EVIL):
                attempt()
    assert not (tmp_path / "trace").exists()


def test_code_that_the_spec_names_may_stand_in_rows() -> None:
    spec = {"axes": {"optimizer.name": ["mine:A", "mine:B"]}, "recipe": {"net": {"build": "mine:net"}}}
    refuse_new_code({"optimizer": {"name": "mine:B"}, "net": {"build": "mine:net"}}, spec, "a row")
    for other in ("mine:C", "mine:A.b", "yours:A"):
        assert foreign_code(other)
        with pytest.raises(Untrusted, match=other):
            refuse_new_code({"optimizer": {"name": other}}, spec, "a row")


def test_a_folder_without_a_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = stranger(ran(tmp_path, ZOO), "copy", spec__recipe__net={"net": "own", "build": EVIL}, folder=".")
    mine(copy, "evil_row", copy / "trace")
    monkeypatch.chdir(copy)
    monkeypatch.syspath_prepend(str(copy))
    with pytest.raises(UsageError, match="is empty"):
        Zoo("")
    for words in (("regenerate", "", "0"), ("status", ""), ("rerun", ""), ("report", ""), ("zoo-card", "")):
        done = command(*words, cwd=copy)
        assert done.returncode == 2 and "Traceback" not in done.stderr, (words, done.stderr)
    with reading(""), pytest.raises(Untrusted):  # whatever name a source has
        from landsweep.orchestrator.trust import load

        load(EVIL)
    assert not (copy / "trace").exists()


TEXT = {"source": "text", "folder": "texts", "pattern": "*", "context": 8}
GPT = {"net": "gpt", "width": 8, "depth": 1, "heads": 1}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An own zoo that is trained on texts beside its spec."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("hello world " * 400)
    recipe = {**ZOO["recipe"], "data": TEXT, "net": GPT, "steps": 2, "batch_size": 4}  # type: ignore[dict-item]
    return ran(folder, {"kind": "zoo", "name": "texts", "recipe": recipe, "seeds": {"range": 2}})


@pytest.mark.parametrize(
    ("folder", "base"),
    [("{home}", "."), ("../home", "."), ("texts", "{home}"), ("~", "."), ("link", "{copy}")],
    ids=["absolute", "climbing", "by the folder of the spec", "home", "link"],
)
def test_a_rerun_of_a_stranger_reads_no_file_of_the_user(texts: Path, tmp_path: Path, folder: str, base: str) -> None:
    home = tmp_path / "home"
    (home / "texts").mkdir(parents=True)
    (home / "texts" / "key").write_text("secret key " * 400)
    copy = tmp_path / "z"
    shutil.copytree(texts, copy)
    (copy / "link").symlink_to(home / "texts")
    folder, base = (text.format(home=home, copy=copy) for text in (folder, base))
    stranger(copy, "", keep=True, spec__recipe__data__folder=folder, folder=base)
    for part in (copy / "rows").glob("part*.parquet"):
        part.unlink()
    done = command("rerun", copy, "site.executor=local", "site.tracking=false", cwd=tmp_path)
    text = " ".join(done.stderr.split())
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "recipe.data.folder" in text and "--trust" in text
    assert not list((copy / "rows").glob("part*.parquet"))


@pytest.mark.parametrize("words", [("regenerate", "KEY"), ("verify", "--reevaluate", "2")])
@pytest.mark.parametrize("folder", ["{home}/texts", "../home/texts", "link"])
def test_what_is_computed_from_a_strangers_zoo_reads_no_file_of_the_user(
    texts: Path, tmp_path: Path, words: tuple[str, ...], folder: str
) -> None:
    home, copy = tmp_path / "home", tmp_path / "z"
    (home / "texts").mkdir(parents=True)
    (home / "texts" / "a.txt").write_text("hello world " * 400)
    shutil.copytree(texts, copy)
    (copy / "link").symlink_to(home / "texts")
    stranger(copy, "", keep=True, spec__recipe__data__folder=folder.format(home=home), folder=str(copy))
    key = Zoo(copy).keys[0]
    given = [key if word == "KEY" else word for word in words]
    done = command(given[0], copy, *given[1:], cwd=tmp_path)
    text = " ".join(done.stderr.split())
    assert done.returncode == 2 and "data.folder" in text and "--trust" in text, (done.stdout, done.stderr)
    shutil.copytree(home / "texts", copy / "texts")  # what lies in the zoo may be read
    stranger(copy, "", keep=True, spec__recipe__data__folder="texts")
    assert command("regenerate", copy, key, cwd=tmp_path).returncode == 0


SEARCH = {
    "kind": "search",
    "name": "small",
    "function": "tests.attack.test_trust_gaps:scored",
    "goals": [{"maximise": "y"}],
    "budget": {"units": 3},
}


def scored(**given: object) -> dict[str, float]:
    return {"y": 1.0}


@pytest.mark.parametrize(
    "search",
    [
        {**SEARCH, "space": {"way": {"choice": ["mine:a", "mine:b"]}}},
        {**SEARCH, "space": {"way": {"choice": ["plain", "fancy"]}, "x": {"uniform": [0, 1]}}},
    ],
    ids=["instead of code", "instead of a word"],
)
def test_best_prints_no_code_that_only_a_row_names(tmp_path: Path, search: dict[str, Any]) -> None:
    own = ran(tmp_path, search)
    assert command("best", own, cwd=tmp_path).returncode == 0
    for part in (own / "rows").glob("part*.parquet"):
        rewritten(part, lambda rows: with_text(rows, "way", EVIL))
    done = command("best", own, cwd=tmp_path)
    assert done.returncode == 2 and EVIL in done.stderr and EVIL not in done.stdout, (done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["description", "digests", "pinned_models"])
def test_files_outside_are_refused_below_any_name_that_an_author_chose(name: str, tmp_path: Path) -> None:
    for part in ({"source": "text", "folder": "/home"}, {"models": [{"folder": "/home"}]}):
        with pytest.raises(Untrusted, match=rf"domains\.{name}.*'/home' is not inside"):
            refuse_files({"recipe": {"data": {"domains": {"a": {}, name: part}}}}, tmp_path, str(tmp_path))


def test_files_inside_of_the_folder_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "z" / "data").mkdir(parents=True)
    spec = {"description": "/any ../text", "recipe": {"data": {"folder": "data", "digests": {"/x": "y"}}}}
    refuse_files(spec, tmp_path / "z", str(tmp_path / "z"))
    pinned = {"params": ["/x"], "metrics": [], "models": [], "note": "see /x"}
    refuse_files({"of": {"digests": {"/x": "0a1b"}, "pinned_models": pinned}}, tmp_path / "z", str(tmp_path / "z"))
    with pytest.raises(Untrusted, match=r"axes\.data\.folder"):
        refuse_files({"axes": {"data.folder": ["data", "/etc"]}}, tmp_path / "z", str(tmp_path / "z"))
    with pytest.raises(Untrusted, match=r"net\.checkpoint\.file"):
        refuse_files({"net": {"checkpoint": {"file": "w.pt"}}}, tmp_path, str(tmp_path / "z"))
    with pytest.raises(Untrusted, match="pattern"):
        refuse_files({"data": {"pattern": "a/../../*"}}, tmp_path / "z", str(tmp_path / "z"))
