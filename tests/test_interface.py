"""Sweeps from Python: the functions that notebooks use, and a real notebook."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landsweep import Results, load, plan, run, run_stages
from landsweep.interface import CellWatch
from landsweep.orchestrator.errors import SpecError, SweepMismatch, UsageError
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.sweeps.function.examples import descend
from tests.support.cli import command, write_spec
from tests.support.stages import MEASURE, TRAIN

LOCAL = {"executor": "local", "tracking": False}
SPEC: dict[str, Any] = {
    "kind": "function",
    "name": "minima",
    "function": "landsweep.sweeps.function.examples:descend",
    "fixed": {"function": "himmelblau", "steps": 20},
    "axes": {"start": {"range": 3}, "lr": [0.001, 0.01]},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_spec_built_in_python_is_planned_run_extended_and_read(here: Path) -> None:
    forecast = plan(SPEC, site="local")
    assert (forecast.total, forecast.done) == (6, 0) and "units: 6 in all" in str(forecast)
    assert not (here / "results").exists()
    sweep = run(SPEC, site=LOCAL)
    assert isinstance(sweep, Results) and len(sweep) == 6 and set(sweep.rows["status"]) == {"ok"}
    assert (here / "results/minima/report/index.html").is_file()
    more = run(SPEC, "axes.lr=[0.001,0.003,0.01]", "site.commit_seconds=0.5", site=LOCAL)
    assert len(more) == 9 and set(sweep.rows["key"]) < set(more.rows["key"])
    assert len(sweep) == 6 and len(sweep.reload()) == 9, "what was read is kept until it is read again"
    assert more.arrow.to_pandas()["key"].tolist() == more.rows["key"].tolist()
    assert (more.kind, more.name, more.spec["axes"]["lr"]["values"]) == ("function", "minima", [0.001, 0.003, 0.01])
    assert more.status["phase"] == "done" and not more.status["running"]
    assert "minima (function): done, 9/9 units (9 ok)" in repr(more)
    assert len(more.tables["best"]) and more.prepared == {}


CURVES = """
def unit(rate):
    for step in range(3):
        yield {"step": step, "loss": rate / (step + 1), "other": 1.0}
"""


def test_a_curve_stands_beside_the_settings(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "curves.py").write_text(CURVES)
    monkeypatch.syspath_prepend(here)
    spec = {"kind": "function", "name": "c", "function": "curves:unit", "axes": {"rate": [1.0, 3.0]}}
    curve = run(spec, site=LOCAL, report=False).curve("loss")
    assert list(curve.columns) == ["key", "rate", "step", "loss"]
    assert curve[["rate", "step", "loss"]].to_numpy().tolist() == [
        [rate, step, rate / (step + 1)] for rate in (1.0, 3.0) for step in range(3)
    ]


REPORTED = """
from landsweep import unit

def train(rate):
    for step in range(2):
        unit.report(step, rate=rate / (step + 1))
    return {"loss": rate}
"""


def test_a_metric_may_have_the_name_of_a_param(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules report the rate that an axis begins with."""
    (here / "reported.py").write_text(REPORTED)
    monkeypatch.syspath_prepend(here)
    spec = {"kind": "function", "name": "r", "function": "reported:train", "axes": {"rate": [1.0, 4.0]}}
    curve = run(spec, site=LOCAL, report=False).curve("rate")
    assert list(curve.columns) == ["key", "rate_param", "step", "rate"]
    assert curve[["rate_param", "step", "rate"]].to_numpy().tolist() == [[1, 0, 1], [1, 1, 0.5], [4, 0, 4], [4, 1, 2]]


def test_figures_show_themselves_and_are_saved(here: Path) -> None:
    figures = run(SPEC, site=LOCAL, report=False).figures
    assert not (here / "results/minima/report").exists()
    name, figure = next(iter(figures.items()))
    assert figure.name == name and figure.caption
    bundle = figure._repr_mimebundle_(include=None, exclude=None)
    assert "image/png" in bundle or "text/html" in bundle or "application/vnd.plotly.v1+json" in bundle
    for figure in figures.values():
        end = "pdf" if "image/png" in figure._repr_mimebundle_() else "html"
        figure.save(here / f"{figure.name}.{end}")
        assert (here / f"{figure.name}.{end}").stat().st_size > 1000


def test_a_function_may_be_given_as_itself_if_workers_can_import_it(here: Path) -> None:
    sweep = run({**SPEC, "function": descend}, site=LOCAL, report=False)
    assert sweep.spec["function"] == "landsweep.sweeps.function.examples:descend"
    with pytest.raises(SpecError, match=r"function: .*<lambda>.* workers import what they run"):
        run({**SPEC, "function": lambda start, lr: {}}, site=LOCAL)


def descend_twice() -> None:
    """What a decorator might have left behind under a name that means something else now."""


descend_before, descend_twice = descend_twice, lambda: None  # type: ignore[assignment]


class Model:
    def train(self, start: int, lr: float) -> dict[str, float]:
        return {"value": start * lr}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"function": Model().train}, "is not the function that was given"),
        ({"function": descend_before}, "is not the function that was given"),
        ({"fixed": {"x": object()}}, "fixed.x: <object"),
        ({"fixed": {"x": {1, 2}}}, "give numbers, texts, lists and mappings"),
    ],
)
def test_what_a_spec_can_not_hold_is_refused_with_its_field(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        plan({**SPEC, **changed}, site="local")


def test_numbers_of_numpy_and_paths_are_taken_as_what_they_say(here: Path) -> None:
    """A grid in a notebook is often an array; keys are those of the same spec in a file."""
    plain = {**SPEC, "axes": {"start": [0, 1], "lr": [0.001, 0.01]}}
    axes = {"start": np.arange(2), "lr": np.array([0.001, 0.01])}
    arrays = {**SPEC, "name": "arrays", "fixed": {**SPEC["fixed"], "steps": np.int64(20)}, "axes": axes}
    first, second = (run(spec, site=LOCAL, report=False) for spec in (plain, arrays))
    assert first.rows["key"].tolist() == second.rows["key"].tolist() and len(first) == 4
    assert plan({**SPEC, "axes": {"start": range(3), "lr": [np.float32(0.5)]}}, site="local").total == 3
    given = plan({**plain, "name": "p", "fixed": {**SPEC["fixed"], "note": Path("data")}}, site="local")
    assert given.total == 4


@pytest.mark.slow
def test_what_was_begun_here_goes_on_there(here: Path) -> None:
    write_spec(here, SPEC)
    command("run", "spec.yaml", "--site", "local", "site.tracking=off", "axes.start=[0]", cwd=here)
    assert load("results/minima").rows["start"].tolist() == [0, 0]
    assert len(run("spec.yaml", site=LOCAL, report=False)) == 6
    assert "done: 6 units" in command("run", "spec.yaml", "--site", "local", "site.tracking=off", cwd=here).stderr


def test_refusals_say_what_to_do(here: Path) -> None:
    with pytest.raises(SpecError, match="name: missing"):
        run({k: v for k, v in SPEC.items() if k != "name"})
    with pytest.raises(SpecError, match="stepz"):
        plan({**SPEC, "stepz": 3})
    with pytest.raises(SpecError, match="there is no site 'nowhere'"):
        plan(SPEC, site="nowhere")
    with pytest.raises(SpecError, match="exekutor"):
        plan(SPEC, site={"exekutor": "local"})
    with pytest.raises(SpecError, match="there is no folder results/none"):
        load("results/none")
    sweep = run(SPEC, site=LOCAL, report=False)
    with pytest.raises(SweepMismatch, match="fixed"):
        run(SPEC, "fixed.steps=21", site=LOCAL)
    with pytest.raises(UsageError, match="no series of 'loss'; there are none"):
        sweep.curve("loss")
    with pytest.raises(UsageError):
        _ = sweep.models


INTERRUPTED = """
def unit(x):
    if x == 2:
        import os, signal
        os.kill(os.getpid(), signal.SIGINT)
    return {"y": x}
"""


def test_an_interrupt_stops_the_sweep_and_the_next_call_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "interrupted.py").write_text(INTERRUPTED)
    monkeypatch.syspath_prepend(here)
    before = signal.getsignal(signal.SIGINT)
    spec = {"kind": "function", "name": "i", "function": "interrupted:unit", "axes": {"x": {"range": 40}}}
    site = {**LOCAL, "probe_seconds": 0, "shard_seconds": 1e-9}
    sweep = run(spec, site=site, report=False)
    assert 3 <= len(sweep) < 40 and sweep.status["phase"] == "stopped"
    assert signal.getsignal(signal.SIGINT) is before
    assert len(run(spec, site=site, report=False)) == 40


def test_a_thread_that_is_not_the_first_may_run_a_sweep(here: Path) -> None:
    lengths: list[int] = []
    thread = threading.Thread(target=lambda: lengths.append(len(run(SPEC, site=LOCAL, report=False))))
    thread.start()
    thread.join()
    assert lengths == [6]


def test_progress_below_a_cell_is_one_line_that_changes() -> None:
    shown: list[str] = []

    class Handle:
        def update(self, line: dict[str, str], raw: bool) -> None:
            shown[-1] = line["text/plain"]

    def display(line: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(line["text/plain"])
        return Handle()

    watch = CellWatch(display)
    for phase, done in (("running", 1), ("running", 2), ("done", 4)):
        watch.show(Snapshot(phase, 4, done, done, {"ok": done - 1, "failed": 1}, 1.0, 3.0, 1, 61.0))
    assert shown == ["done: 4 of 4 units, 1 failed, 1 min 01 s"]


def test_the_import_stays_light() -> None:
    heavy = ("torch", "ray", "mlflow", "pandas", "matplotlib", "plotly", "IPython", "pyarrow", "numpy", "typer")
    code = f"import sys, landsweep; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_notebook(here: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    cells = [
        f"from landsweep import load, run\nspec = {SPEC!r}\nsweep = run(spec, site={LOCAL!r})",
        "sweep.rows.groupby('lr')['value'].min()",
        "next(iter(sweep.figures.values()))",
        "def mine(start, lr): return {'y': 1.0}\ntry:\n    run({**spec, 'function': mine})\nexcept Exception as e:\n"
        "    print(e)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    first, table, figure, refusal = (cell.outputs for cell in notebook.cells)
    texts = [o.data["text/plain"] for o in first if o.output_type == "display_data"]
    assert len(texts) == 1 and texts[0].startswith("done: 6 of 6 units"), first
    assert "0.001" in table[0].data["text/plain"]
    assert {"image/png", "text/html", "application/vnd.plotly.v1+json"} & set(figure[0].data)
    assert "mine is defined in this notebook" in refusal[0].text


def test_stages_are_run_and_grown(here: Path) -> None:
    stages = {"train": {**TRAIN, "seeds": range(2)}, "measure": MEASURE}
    spec = {"name": "both", "stages": stages}
    results = run_stages(spec, site=LOCAL)
    assert {name: len(stage) for name, stage in results.items()} == {"train": 2, "measure": 2}
    assert (here / "results/both/report/index.html").is_file() and len(results["train"].models) == 2
    more = run_stages(spec, "train.seeds={range: 3}", site=LOCAL, report=False)
    assert {name: len(stage) for name, stage in more.items()} == {"train": 3, "measure": 3}
    assert set(results["train"].rows["key"]) < set(more["train"].rows["key"])
    with pytest.raises(SpecError, match="the spec of one sweep, which `run` takes"):
        run_stages(SPEC, site=LOCAL)
    with pytest.raises(SpecError, match="name: missing"):
        run_stages({"stages": stages}, site=LOCAL)
    with pytest.raises(SpecError, match=r"which `landsweep run`, .* and `run_stages` in Python"):
        run(spec, site=LOCAL)
