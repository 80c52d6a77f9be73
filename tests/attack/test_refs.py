"""A stranger's spec gives no trust to another sweep, and what it names below its folder leads nowhere else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import Untrusted, UsageError
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.trust import foreign_code, reading, refuse_files
from landsweep.sweeps.lab.data.hf_dataset import HfDataset
from landsweep.sweeps.lab.trained_models.refs import SweepRef, zoo_of
from tests.attack.folders import ZOO, command, mine, ran, stranger

MEASURE = {
    "kind": "measure",
    "name": "measured",
    "evaluators": {"train": {"split": "train", "first": 8}},
    "measures": {"loss": {"measure": "losses"}},
}
LOCAL = ("site.executor=local", "site.tracking=false")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A zoo and a sweep that has measured it, of somebody else."""
    zoo = ran(tmp_path_factory.mktemp("zoo"), ZOO)
    return zoo, ran(tmp_path_factory.mktemp("measured"), {**MEASURE, "of": [{"sweep": str(zoo)}]})


def copied(made: tuple[Path, Path], folder: Path, **of: Any) -> Path:
    """The measuring sweep in another place, without rows, with other words for where its zoo is."""
    measured = folder / "z"
    shutil.copytree(made[1], measured)
    for part in (measured / "rows").glob("part*.parquet"):
        part.unlink()
    ref = json.loads((measured / "sweep.json").read_text())["spec"]["of"][0]
    return stranger(measured, "", keep=True, spec__of=[{**ref, "sweep": "inner", **of}], folder=str(measured))


@pytest.mark.parametrize("word", [True, "yes"])
def test_a_strangers_spec_trusts_no_other_sweep(made: tuple[Path, Path], tmp_path: Path, word: object) -> None:
    measured, module = copied(made, tmp_path, trust=word), f"evil_ref_{word}"
    inner = measured / "inner"
    shutil.copytree(made[0], inner)
    stranger(inner, "", keep=True, spec__recipe__net={"net": "own", "build": f"{module}:f"}, folder=str(measured))
    mine(measured, module, tmp_path / "trace")
    done = command("rerun", measured, *LOCAL, cwd=tmp_path)
    assert done.returncode == 2 and "all code of the sweep 'inner'" in done.stderr, (done.stdout, done.stderr)
    assert not (tmp_path / "trace").exists()
    with reading("a folder"):  # by whatever way a stranger's spec gets there
        zoo = zoo_of(SweepRef(sweep="inner", trust=True), measured)
        with pytest.raises(Untrusted, match=f"{module}:f"):
            zoo[0].module()
    assert not (tmp_path / "trace").exists()
    own = zoo_of(SweepRef(sweep="inner", trust=True), measured)  # as the user's own spec says
    with pytest.raises(UsageError, match=r"torch\.nn\.Module"):
        own[0].module()
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("value", [{"sweep": "a", "trust": 1}, [{"b": {"sweep": "a", "trust": "on"}}]])
def test_trust_in_any_place_of_a_spec_is_seen(value: object) -> None:
    assert foreign_code(value) == ["all code of the sweep 'a'"]
    assert foreign_code([{"sweep": "a", "trust": False}, {"sweep": "a"}, {"trust": True}]) == []


def test_a_rerun_measures_no_zoo_of_the_users(made: tuple[Path, Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made[0], home / "inner")
    attempts: list[tuple[str, Callable[[Path], object]]] = [
        ("by a link", lambda copy: (copy / "inner").symlink_to(home / "inner")),
        ("by the folder of the spec", lambda copy: stranger(copy, "", keep=True, folder=str(home))),
        ("by links in the zoo", lambda copy: shutil.copytree(linked(home / "inner"), copy / "inner", symlinks=True)),
    ]
    for number, (_, prepare) in enumerate(attempts):
        folder = tmp_path / str(number)
        folder.mkdir()
        copy = copied(made, folder)
        prepare(copy)
        done = command("rerun", copy, *LOCAL, cwd=folder)
        assert done.returncode == 2 and "of.sweep" in done.stderr and "--trust" in done.stderr, done.stderr
        assert not list((copy / "rows").glob("part*.parquet"))
    copy = copied(made, tmp_path)
    shutil.copytree(made[0], copy / "inner")  # what lies in the folder may be measured
    assert command("rerun", copy, *LOCAL, cwd=tmp_path).returncode == 0


def linked(zoo: Path) -> Path:
    """A copy of a zoo whose weights are links to those of the zoo."""
    copy = zoo.with_name("linked")
    shutil.copytree(zoo, copy)
    for file in (copy / "weights").iterdir():
        file.unlink()
        file.symlink_to(zoo / "weights" / file.name)
    return copy


@pytest.mark.parametrize(
    "spec",
    [
        {"data": {"source": "text", "folder": "texts"}},  # with a link in it
        {"data": {"source": "text", "folder": "deep"}},
        {"data": {"source": "mnist", "folder": ""}},  # the folder of the spec itself
        {"axes": {"data.folder": {"values": ["private"]}}},
        {"axes": {"data": [{"source": "text", "folder": "private"}]}},
        {"of": [{"name": "a", "net": "mlp", "checkpoint": "private/key.pt"}]},
        {"models": {"a": {"checkpoint": {"sweep": "private"}}}},
        {"of": [{"sweep": ""}]},
    ],
)
def test_no_file_outside_is_named_in_any_way(tmp_path: Path, spec: dict[str, Any]) -> None:
    home = tmp_path / "z"
    (home / "texts").mkdir(parents=True)
    (home / "deep" / "er").mkdir(parents=True)
    (tmp_path / "key").write_text("secret")
    (tmp_path / "private").mkdir()
    (home / "private").symlink_to(tmp_path / "private")
    (home / "texts" / "a.txt").symlink_to(tmp_path / "key")
    (home / "deep" / "er" / "more").symlink_to(tmp_path, target_is_directory=True)
    empty = '""' in json.dumps(spec)
    with pytest.raises(Untrusted):
        refuse_files(spec, tmp_path if empty else home, str(home))


def test_files_and_links_inside_are_no_files_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "b").write_text("b")
    (tmp_path / "texts" / "a").symlink_to(tmp_path / "b")
    for spec in ({"folder": "texts"}, {"source": "text", "folder": ""}, {"sweep": "inner"}, {"checkpoint": None}):
        refuse_files(spec, tmp_path, str(tmp_path))
    refuse_files({"source": "text", "folder": ""}, tmp_path.parent, str(tmp_path))  # Python's own library


@pytest.mark.parametrize("splits", [["../home"], ["/etc"], ["train", ""], [3], 3, "train/..", None])
def test_a_data_set_names_no_folder_elsewhere(tmp_path: Path, splits: object) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    data = parse(HfDataset, {"source": "hf_dataset", "folder": "data", "inputs": "x"}, "test")
    with pytest.raises(UsageError, match="is no split"):
        data.files_by_split(tmp_path)
