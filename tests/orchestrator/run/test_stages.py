"""Specs in stages: what is refused before any work, and a zoo that is trained, measured, stopped and grown."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from landsweep.orchestrator.commands.stages import stages_at
from landsweep.orchestrator.errors import SpecError, Untrusted
from landsweep.orchestrator.run.stage_list import read_stage_list
from landsweep.orchestrator.run.stages import Stages, read_stages
from landsweep.orchestrator.run.sweep import load_spec
from landsweep.orchestrator.storage.ledger import Store
from tests.support.cli import LANDSWEEP, LOCAL, command
from tests.support.paths import ROOT
from tests.support.stages import MEASURE, TRAIN

MINIMA: dict[str, Any] = {
    "kind": "function",
    "function": "landsweep.sweeps.function.examples:descend",
    "axes": {"x": [0.5], "y": [0.5]},
}


def write_spec(folder: Path, data: dict[str, Any], name: str = "spec.yaml") -> Path:
    """Stages are in order, so keys must not be sorted."""
    file = folder / name
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["rows", "report", "site", "Upper", "a.b", "../up"])
def test_a_stage_that_would_lie_on_files_of_a_sweep_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="can't be the name of a stage"):
        read_stages(write_spec(tmp_path, {"stages": {name: MINIMA}}))


@pytest.mark.parametrize("name", ["../up", "/abs", "a/b", "-rf", ".", "x" * 300, ["a"]])
def test_a_name_of_all_that_leads_elsewhere_is_refused(name: object, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, {"name": name, "stages": {"a": {**MINIMA, "name": "fine"}}})
    with pytest.raises(SpecError, match="can't be the name of a folder of results"):
        read_stages(spec)
    with pytest.raises(SpecError, match="can't be the name of a folder of results"):
        read_stages(write_spec(tmp_path, {"stages": {"a": MINIMA}}), ["name=../up"])


@pytest.mark.parametrize("value", ["x" * 5000, "y/" * 3000, "z" * 300 + ".yaml"])
def test_a_stage_of_a_file_that_can_not_be_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no file"):
        read_stages(write_spec(tmp_path, {"stages": {"a": value}}))


def taking(stage: str) -> dict[str, Any]:
    return {**MEASURE, "of": [{"sweep": f"stage:{stage}"}]}


@pytest.mark.parametrize(
    ("stages", "changes", "message"),
    [
        (
            {"measure": MEASURE, "train": TRAIN},
            (),
            r"stages.measure: of.0.sweep: takes the stage 'train', which does not",
        ),
        ({"train": taking("train")}, (), "takes the stage 'train', which does not come before it"),
        (
            {"train": TRAIN, "m": taking("trian")},
            (),
            r"there is no stage 'trian' \(did you mean 'train'\?\); the stages",
        ),
        ({"a": MINIMA, "m": taking("a")}, (), r"stages.m: of.0.sweep: the stage 'a' keeps no weights"),
        ({"train": TRAIN, "m": MEASURE, "n": taking("m")}, (), r"stages.n: of.0.sweep: the stage 'm' keeps no weights"),
        ({"train": TRAIN, "m": {**MEASURE, "colour": 1}}, (), r"stages.m:\n  - colour: unknown field"),
        ({"train": TRAIN, "m": MEASURE}, ("m.of=[{sweep: 'stage:m'}]",), "takes the stage 'm', which does not come"),
        ({"train": TRAIN}, ("seeds=3",), r"'seeds=3': begin with the name of a stage, such as train.FIELD=VALUE"),
        ({"train": {"seeds": 1}}, (), "stages.train: kind: missing"),
        ({"train": 3}, (), "stages.train: give the fields of a spec, or the path of a spec file"),
        ({"train": "absent.yaml"}, (), "there is no file absent.yaml"),
        ({"Train/..": TRAIN}, (), "'Train/..' can't be the name of a stage"),
        ({"site": TRAIN}, (), "'site' can't be the name of a stage"),
        ({}, (), "give each stage by its name"),
        ([TRAIN], (), "give each stage by its name"),
    ],
)
def test_what_is_wrong_with_a_stage_is_said_before_any_work(
    tmp_path: Path, stages: object, changes: tuple[str, ...], message: str
) -> None:
    spec = write_spec(tmp_path, {"stages": stages})
    with pytest.raises(SpecError, match=message):
        read = read_stages(spec, changes)
        assert read is not None
        read.check(str(tmp_path / "results"))
    assert list(tmp_path.iterdir()) == [spec]


def test_a_spec_of_one_sweep_has_no_stages_and_one_in_stages_is_no_sweep(tmp_path: Path) -> None:
    assert read_stages(write_spec(tmp_path, MINIMA)) is None
    with pytest.raises(SpecError, match="is a spec in stages, which `landsweep run`, `plan` and `submit` take"):
        load_spec(write_spec(tmp_path, {"stages": {"train": TRAIN}}))
    with pytest.raises(SpecError, match="color: unknown field; a spec in stages has name, description, stages"):
        read_stages(write_spec(tmp_path, {"stages": {"train": TRAIN}, "color": 1}))


def test_a_stage_may_be_a_file_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write_spec(tmp_path / "parts", TRAIN, "train.yaml")
    read = read_stages(write_spec(tmp_path, {"stages": {"train": "parts/train.yaml", "m": MEASURE}}), ["name=other"])
    assert read is not None and read.name == "other"
    train, measure = read.stages
    assert (train.folder, measure.folder) == (tmp_path / "parts", tmp_path)
    kind, spec = read.sweep(train, "results/other")
    assert (kind.name, spec.name) == ("zoo", "other_train")
    assert dict(measure.mentions) == {"of.0.sweep": "train"}


@pytest.mark.parametrize("stages", [["../up"], ["a/b"], [3], [], "train", [".."]])
def test_a_list_of_stages_that_leads_out_of_its_folder_is_none(tmp_path: Path, stages: object) -> None:
    (tmp_path / "stages.json").write_text(json.dumps({"name": "x", "stages": stages}))
    assert read_stage_list(Store.at(tmp_path)) is None


def test_a_stage_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "theirs/train").symlink_to(tmp_path / "own")
    (tmp_path / "theirs/stages.json").write_text(json.dumps({"name": "x", "stages": ["train"]}))
    with pytest.raises(Untrusted):
        stages_at(str(tmp_path / "theirs"))


def killed_at_its_start(folder: Path, *changes: str) -> None:
    """The first stage has results by then, but no rows."""
    driver = subprocess.Popen([*LANDSWEEP, "run", "spec.yaml", *LOCAL, *changes], cwd=folder, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (folder / "results/both/train/sweep.json").is_file():
        assert time.monotonic() < end
        time.sleep(0.02)
    driver.kill()
    driver.wait(timeout=120)


def test_stages_are_planned_run_shown_and_grown_as_one(tmp_path: Path) -> None:
    """The example of the documents, with fewer steps."""
    page = (ROOT / "docs/specs.md").read_text(encoding="utf-8")
    example = page[page.index("name: trained_and_measured") :].partition("```")[0]
    (tmp_path / "spec.yaml").write_text(example.replace("Perceptrons", "<b>Perceptrons</b>"), encoding="utf-8")
    few = ["train.recipe.steps=20", "train.axes={net.hidden.0: [4]}", "train.seeds.range=2", "name=both"]
    planned = command("plan", "spec.yaml", *few, "--json", cwd=tmp_path).stdout
    assert json.loads(planned)["stages"]["measure"] == {"waits_for": ["train"]}
    killed_at_its_start(tmp_path, *few)
    planned = command("plan", "spec.yaml", *few, "--json", cwd=tmp_path).stdout
    assert json.loads(planned)["stages"]["measure"] == {"waits_for": ["train"]}, "it has begun, and no model is there"
    said = command("run", "spec.yaml", *LOCAL, *few, cwd=tmp_path).stderr
    assert "stage 1 of 2: train" in said and "stage 2 of 2: measure" in said
    assert "all stages: results/both/report/index.html" in said

    def units() -> list[int]:
        states = json.loads(command("status", "results/both", "--json", cwd=tmp_path).stdout)["stages"]
        assert all(now["phase"] == "done" for now in states.values())
        return [now["done"] for now in states.values()]

    assert units() == [2, 4]
    results = tmp_path / "results/both"
    page = (results / "report/index.html").read_text(encoding="utf-8")
    assert 'href="../train/report/index.html"' in page and "&lt;b&gt;Perceptrons&lt;/b&gt;" in page
    assert (results / "train/report/index.html").is_file() and (results / "measure/report/index.html").is_file()
    planned = command("plan", "spec.yaml", *few, "train.seeds.range=3", "--json", cwd=tmp_path).stdout
    assert json.loads(planned)["stages"]["measure"] == {"waits_for": ["train"]}, "one more model will come"
    assert (
        json.loads(command("plan", "spec.yaml", *few, "--json", cwd=tmp_path).stdout)["stages"]["measure"]["done"] == 4
    )
    again = command("run", "spec.yaml", *LOCAL, *few, "train.seeds.range=3", cwd=tmp_path).stderr
    assert "1 new in" in again and "2 new in" in again and units() == [3, 6]
    refused = " ".join(command("verify", "results/both", cwd=tmp_path, check=2).stderr.split())
    assert "holds the stages of both; give one of them: results/both/train, results/both/measure" in refused


@pytest.mark.slow
def test_stages_go_on_where_a_signal_or_a_kill_stopped_them(tmp_path: Path) -> None:
    slow = {
        "kind": "function",
        "function": "gate:unit",
        "fixed": {"folder": str(tmp_path)},
        "axes": {"x": {"range": 4}},
    }
    (tmp_path / "gate.py").write_text(
        "import pathlib, time\n"
        "def unit(x, folder):\n"
        "    yield {'value': float(x)}\n"
        "    while x == 2 and not pathlib.Path(folder, 'go').exists():\n"
        "        time.sleep(0.05)\n"
        "        yield {'value': 2.0}\n"
    )
    write_spec(tmp_path, {"name": "both", "stages": {"first": slow, "second": slow}})
    words = [
        *LANDSWEEP,
        "run",
        "spec.yaml",
        *LOCAL,
        "site.probe_seconds=0",
        "site.commit_seconds=0.1",
        "site.shard_seconds=0.01",
    ]

    def stopped_by(number: int) -> int:
        driver = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
        rows = tmp_path / "results/both/first/rows"
        end = time.monotonic() + 120
        while not list(rows.rglob("*.parquet")):
            assert time.monotonic() < end
            time.sleep(0.1)
        driver.send_signal(number)
        return driver.wait(timeout=120)

    assert stopped_by(signal.SIGINT) == 3
    assert stopped_by(signal.SIGKILL) == -signal.SIGKILL
    (tmp_path / "go").touch()
    command("run", "spec.yaml", *LOCAL, cwd=tmp_path)
    text = command("status", "results/both", cwd=tmp_path).stdout
    assert text.count("done, 4/4 units (4 ok)") == 2


def test_frozen_stages_are_those_that_were_written_whatever_becomes_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    part = write_spec(tmp_path / "parts", TRAIN, "train.yaml")
    written = {"name": "both", "description": "why", "stages": {"train": "parts/train.yaml", "measure": MEASURE}}
    stages = read_stages(write_spec(tmp_path, written), ["train.seeds.range=3"])
    assert stages is not None
    frozen = json.dumps(stages.frozen())
    part.unlink()
    thawed = Stages.thawed(json.loads(frozen), "launch.json")
    assert thawed == stages and thawed.stages[1].mentions == {"of.0.sweep": "train"}
    with pytest.raises(SpecError, match=r"launch.json:\n  - stages.train.folder: missing"):
        Stages.thawed({**stages.frozen(), "stages": {"train": {"fields": {}, "source": ""}}}, "launch.json")
