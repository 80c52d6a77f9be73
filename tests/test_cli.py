"""The command line as a user meets it: real processes, real exit codes, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.chaos.driver import spec_data
from tests.support.cli import LANDSWEEP, LOCAL, command, write_spec
from tests.support.paths import ROOT, SHIPPED_SPECS


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return write_spec(tmp_path, spec_data(11, 0.0))


def test_run_plan_status_verify_report_export(spec: Path, tmp_path: Path) -> None:
    plan = json.loads(command("plan", spec.name, "--json", cwd=tmp_path).stdout)
    assert (plan["total"], plan["done"], plan["to_run"]) == (11, 0, 11)
    assert not (tmp_path / "results").exists(), "a plan writes nothing"
    done = command("run", spec.name, "--site", "local", cwd=tmp_path)
    assert "11 units (11 ok)" in done.stderr and "MLflow run" in done.stderr
    assert (tmp_path / "results/chaos/report/index.html").is_file()
    assert (tmp_path / "results/mlflow.db").is_file()
    state = json.loads(command("status", "results/chaos", "--json", cwd=tmp_path).stdout)
    assert (state["phase"], state["done"], state["running"]) == ("done", 11, False)
    assert "sound" in command("verify", "results/chaos", cwd=tmp_path).stdout
    assert "index.html" in command("report", "results/chaos", cwd=tmp_path).stdout
    first = command("export-mlflow", "results/chaos", cwd=tmp_path).stdout
    assert first == command("export-mlflow", "results/chaos", cwd=tmp_path).stdout, "the same run, not a second one"
    again = command("run", spec.name, *LOCAL, cwd=tmp_path)
    assert "nothing was left to compute" in again.stderr


def test_a_finer_axis_computes_only_what_is_new(tmp_path: Path) -> None:
    data = {
        "kind": "function",
        "name": "fine",
        "function": "tests.chaos.driver:work",
        "axes": {"i": {"linear": [0, 1, 11]}},
    }
    write_spec(tmp_path, data)
    command("run", "spec.yaml", *LOCAL, cwd=tmp_path)
    assert (
        json.loads(command("plan", "spec.yaml", "axes.i.linear=[0,1,101]", "--json", cwd=tmp_path).stdout)["to_run"]
        == 90
    )
    done = command("run", "spec.yaml", "axes.i.linear=[0,1,101]", *LOCAL, cwd=tmp_path)
    assert "101 units (101 ok); 90 new" in done.stderr


def test_a_spec_that_is_refused_leaves_a_sweep_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(i):\n    return {'y': i}\n")
    spec = {"kind": "function", "name": "mine", "function": "mine:f", "axes": {"i": {"range": 3}}}
    write_spec(tmp_path, spec)
    command("run", "spec.yaml", *LOCAL, cwd=tmp_path)
    before = (tmp_path / "results/mine/sweep.json").read_bytes()
    write_spec(tmp_path, {**spec, "axes": {"j": {"range": 3}}})
    assert "it takes no argument 'j'" in command("run", "spec.yaml", *LOCAL, cwd=tmp_path, check=2).stderr
    assert (tmp_path / "results/mine/sweep.json").read_bytes() == before
    assert "done, 3/3 units" in command("status", "results/mine", cwd=tmp_path).stdout


def test_failed_units_are_listed_and_run_again(tmp_path: Path) -> None:
    module = tmp_path / "mine.py"
    module.write_text("def f(i):\n    if i == 3: raise ValueError('three is bad')\n    return {'y': i}\n")
    write_spec(tmp_path, {"kind": "function", "name": "mine", "function": "mine:f", "axes": {"i": {"range": 5}}})
    done = command("run", "spec.yaml", *LOCAL, cwd=tmp_path, check=1)
    assert "one that failed: ValueError: three is bad\n" in done.stderr
    assert "1 failed" in done.stderr and "landsweep rerun results/mine --status failed" in done.stderr
    assert "three is bad" in (tmp_path / "results/mine/report/index.html").read_text()
    module.write_text("def f(i):\n    return {'y': i}\n")
    command("rerun", "results/mine", "--status", "failed", *LOCAL, cwd=tmp_path)
    rows = metrics_of(tmp_path / "results/mine")
    assert sorted(r["y"] for r in rows.values()) == [0, 1, 2, 3, 4]
    assert list((tmp_path / "results/mine/retired").iterdir()), "the failed row is kept for the record"
    assert "nothing to do" in command("rerun", "results/mine", *LOCAL, cwd=tmp_path).stderr
    Ledger.open(Store.at(tmp_path / "results/mine")).retire([next(iter(rows))])  # as a rerun that was stopped leaves it
    assert "1 new" in command("rerun", "results/mine", *LOCAL, cwd=tmp_path).stderr


BAD = {
    "a misspelt field": (["run", "spec.yaml", "functoin=x:y"], ["functoin: unknown field", "did you mean 'function'"]),
    "a wrong type": (["run", "spec.yaml", "fixed=3"], ["fixed:", "given: 3"]),
    "an empty axis": (["run", "spec.yaml", "axes.i=[]"], ["axes.i", "empty"]),
    "no such file": (["run", "nothing.yaml"], ["no file nothing.yaml"]),
    "no such kind": (["run", "spec.yaml", "kind=lanscape"], ["no kind 'lanscape'", "landscape"]),
    "no such site": (["run", "spec.yaml", "--site", "moon"], ["no site 'moon'", "local"]),
    "a misspelt site field": (["run", "spec.yaml", "site.wrokers=2"], ["wrokers: unknown field", "workers"]),
    "no such function": (["run", "spec.yaml", "function=no.module:f", *LOCAL], ["no.module"]),
    "an argument that is not there": (["run", "spec.yaml", "fixed.speed=3", *LOCAL], ["speed"]),
    "a dead cluster": (["run", "spec.yaml", "site.address=127.0.0.1:1"], ["127.0.0.1:1", "Is the cluster up"]),
    "a dead tracking server": (["run", "spec.yaml", "site.tracking=http://127.0.0.1:1"], ["127.0.0.1:1"]),
    "no such results": (["status", "results/none"], ["no folder results/none"]),
    "a folder without a sweep": (["verify", "."], ["holds no sweep"]),
    "a wrong status": (["rerun", ".", "--status", "ok"], ["failed, diverged, pruned or damaged"]),
    "a cause of what has none": (["rerun", ".", "--status", "damaged", "--cause", "oom"], ["only failed units have"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_any_work(case: str, spec: Path, tmp_path: Path) -> None:
    words, expected = BAD[case]
    done = command(*words, cwd=tmp_path, check=2)
    for word in expected:
        assert word in done.stderr, done.stderr
    assert not list(tmp_path.glob("results/*/*")), "nothing was written"


def test_a_sweep_json_without_its_fields_is_refused(spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "damaged"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    for words in (["status", str(folder)], ["plan", "spec.yaml", "--out", str(folder)]):
        assert "sweep.json is damaged: it has no kind," in command(*words, cwd=tmp_path, check=2).stderr


def test_results_of_another_spec_are_not_touched(spec: Path, tmp_path: Path) -> None:
    command("run", spec.name, *LOCAL, cwd=tmp_path)
    before = metrics_of(tmp_path / "results/chaos")
    done = command("run", spec.name, "fixed.seconds=0.001", *LOCAL, cwd=tmp_path, check=2)
    assert "fixed.seconds: was 0, is 0.001" in done.stderr and "--out" in done.stderr
    assert metrics_of(tmp_path / "results/chaos") == before


def long_run(folder: Path) -> subprocess.Popen[str]:
    """A run of two minutes, once its first rows are on disk."""
    write_spec(folder, spec_data(4000, 0.03))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*LANDSWEEP, "run", "spec.yaml", *LOCAL],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("results/chaos/rows/*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path, number: int) -> None:
    process = long_run(tmp_path)
    state = json.loads(command("status", "results/chaos", "--json", cwd=tmp_path).stdout)
    assert state["running"] and state["phase"] == "running"
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 3, told
    assert "go on with: landsweep run spec.yaml --site local" in told
    rows = len(metrics_of(tmp_path / "results/chaos"))
    assert 0 < rows < 4000
    done = command("run", "spec.yaml", f"axes.i.range={rows + 5}", *LOCAL, cwd=tmp_path)
    assert f"{rows + 5} units" in done.stderr
    assert len(metrics_of(tmp_path / "results/chaos")) < rows + 10, "what was there was not computed again"


def test_a_second_driver_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    process = long_run(tmp_path)
    second = command("run", "spec.yaml", *LOCAL, cwd=tmp_path, check=2)
    assert str(process.pid) in second.stderr and "landsweep status" in second.stderr
    process.kill()
    process.communicate()
    gone = command("status", "results/chaos", cwd=tmp_path)
    assert "driver is gone" in gone.stdout
    rows = len(metrics_of(tmp_path / "results/chaos"))
    command("run", "spec.yaml", f"axes.i.range={rows}", *LOCAL, cwd=tmp_path)


def test_kinds_show_their_fields_and_an_example(tmp_path: Path) -> None:
    listed = command("kinds", cwd=tmp_path).stdout
    assert "function" in listed and "landscape" in listed
    shown = command("kinds", "function", cwd=tmp_path).stdout
    example = yaml.safe_load(shown[shown.index("example:") + 9 :])
    write_spec(tmp_path, example)
    command("run", "spec.yaml", *LOCAL, cwd=tmp_path)


def test_a_full_disk_is_a_clean_stop(tmp_path: Path) -> None:
    """The kernel refuses files over 40 kB: exit 3, what was committed stays, and with room the command goes on."""
    write_spec(tmp_path, spec_data(3000, 0.0))
    command("run", "spec.yaml", "axes.i.range=50", *LOCAL, cwd=tmp_path)
    before = metrics_of(tmp_path / "results/chaos")
    script = f"ulimit -f 40; exec {LANDSWEEP[0]} run spec.yaml {' '.join(LOCAL)} site.commit_seconds=1000"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "could not be" in done.stderr and "Traceback" not in done.stderr
    assert metrics_of(tmp_path / "results/chaos") == before
    command("run", "spec.yaml", *LOCAL, cwd=tmp_path)
    after = metrics_of(tmp_path / "results/chaos")
    assert len(after) == 3000 and all(after[k] == row for k, row in before.items())


LANDSCAPE = {
    "kind": "landscape",
    "name": "bad",
    "data": {"source": "digits"},
    "models": {"a": {"net": "mlp", "train": {"epochs": 0}}},
    "evaluators": {"test": {"split": "test"}},
    "directions": {"kind": "random"},
    "axes": {"x": {"linear": [-1, 1, 3]}},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["data={source: mnist, folder: nowhere}"], ["nowhere"]),
        (["data={source: cifar10, folder: torn}"], ["torn", "bytes"]),
        (["models.a={net: mlp, checkpoint: {file: wrong.safetensors}}"], ["missing", "unexpected", "bogus"]),
        (["evaluators.test.split=tset"], ["tset", "test"]),
        (["models.a.train.epohcs=1"], ["epohcs", "epochs"]),
    ],
)
def test_landscapes_refuse_what_can_not_work(tmp_path: Path, change: list[str], expected: list[str]) -> None:
    write_spec(tmp_path, LANDSCAPE)
    (tmp_path / "torn").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (tmp_path / "torn" / name).write_bytes(b"\\x80")
    save_file({"bogus": np.zeros(3)}, tmp_path / "wrong.safetensors")
    done = command("run", "spec.yaml", *change, *LOCAL, cwd=tmp_path, check=2)
    for word in expected:
        assert word in done.stderr, done.stderr
    assert not list(tmp_path.glob("results/*/*"))


def test_plan_shows_every_tensor(tmp_path: Path) -> None:
    (tmp_path / "tensors.yaml").write_text(
        "{kind: zoo, recipe: {data: {source: digits}, net: {net: mlp, hidden: [32]}, steps: 1,"
        " optimizer: {method: adam, learning_rate: 0.01}, parametrization: {scheme: mup, base_width: 8}},"
        " axes: {parametrization.scheme: [mup, standard]}}"
    )
    told = command("plan", "tensors.yaml", "--tensors", cwd=tmp_path).stdout
    assert "mlp (hidden [32]), mup (base_width 8), adam" in told and "standard, adam" in told
    assert re.search(r"out\.weight +10x32 +output +0\.5 +0\.25 +0\.01 +0 +1e-08", told)
    tables = json.loads(command("plan", "tensors.yaml", "--tensors", "--json", cwd=tmp_path).stdout)
    assert [line[0] for line in tables[0]["lines"]][-1] == "out.bias" and len(tables) == 2
    own = "from torch import nn\n\ndef f(sizes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, sizes[0]))\n"
    (tmp_path / "tensors_of_mine.py").write_text(own)
    (tmp_path / "own.yaml").write_text(
        "{kind: zoo, recipe: {data: {source: digits}, steps: 1,"
        " net: {net: own, build: 'tensors_of_mine:f', args: {sizes: [10]}}}}"
    )
    told = command("plan", "own.yaml", "--tensors", cwd=tmp_path).stdout
    assert "own tensors_of_mine:f, standard, sgd" in told and re.search(r"1\.weight +10x64 +Linear", told)
    refused = command("plan", str(SHIPPED_SPECS / "function_minima.yaml"), "--tensors", cwd=tmp_path, check=2)
    assert "trains no networks" in refused.stderr
