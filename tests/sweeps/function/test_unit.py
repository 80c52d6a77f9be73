"""The module `landsweep.unit`: what a function, a program and a script that runs alone get from it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Outcome, Progress, Status
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.outputs import unit_output
from landsweep.orchestrator.storage.store import Store
from landsweep.sweeps.function.kind import FunctionKind, FunctionSpec
from landsweep.sweeps.lab.data.own import OwnData
from tests.support.cli import command, write_spec
from tests.support.programs import Programs
from tests.support.sessions import without_lulls

KIND = FunctionKind()
_names = count()


class Functions:
    """Modules of the user's, and sweeps of the function `f` in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.results.mkdir()

    def spec(self, source: str, **fields: Any) -> FunctionSpec:
        module = f"users_unit_{next(_names)}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        return parse(FunctionSpec, {"name": "t", "function": f"{module}:f", "axes": {"x": [1]}, **fields}, "test")

    def bench(self, **given: Any) -> Workbench:
        return Workbench(folder=self.folder, artifacts=Artifacts(str(self.results)), **given)

    def run(self, spec: FunctionSpec, **bench: Any) -> tuple[Outcome, list[Progress]]:
        *progress, outcome = KIND.open(spec, {}, self.bench(**bench)).evaluate(KIND.planner(spec).ask(1))
        assert isinstance(outcome, Outcome)
        return outcome, [p for p in progress if isinstance(p, Progress)]


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Functions:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Functions(tmp_path)


def test_reports_become_series_while_the_function_runs_and_the_last_ones_the_row(functions: Functions) -> None:
    source = """
    import threading
    from landsweep import unit
    went_on = threading.Event()
    def f(x):
        unit.report(1, loss=0.5)
        assert went_on.wait(60), "the report was not passed on while the function ran"
        unit.report(2, loss=0.25)
        unit.report(2, acc=1)
    """
    spec = functions.spec(source)
    given = without_lulls(KIND.open(spec, {}, functions.bench()).evaluate(KIND.planner(spec).ask(1)))
    first = next(given)
    sys.modules[spec.function.partition(":")[0]].went_on.set()
    *progress, outcome = [first, *given]
    assert isinstance(outcome, Outcome) and outcome.status is Status.ok, outcome
    assert dict(outcome.metrics) == {"loss": 0.25, "acc": 1}
    points = [(p.step, dict(p.metrics)) for p in progress if isinstance(p, Progress)]
    assert points == [(1, {"loss": 0.5}), (2, {"loss": 0.25}), (2, {"acc": 1.0})]


def test_what_is_returned_is_the_row(functions: Functions) -> None:
    source = "from landsweep import unit\ndef f(x):\n    unit.report(1, loss=0.5)\n    return {'final': x}"
    assert dict(functions.run(functions.spec(source))[0].metrics) == {"final": 1}


@pytest.mark.parametrize("returned", ["None", "{'loss': 7}"])
def test_a_function_that_is_told_to_stop_is_pruned(functions: Functions, returned: str) -> None:
    source = f"""
    from landsweep import unit
    def f(x):
        for step in range(10**9):
            unit.report(step, loss=7)
            if unit.should_stop():
                return {returned}
    """
    stopped: set[str] = set()
    spec = functions.spec(source)
    (one,) = KIND.planner(spec).ask(1)
    given = without_lulls(KIND.open(spec, {}, functions.bench(stopped=stopped.__contains__)).evaluate([one]))
    next(given)
    stopped.add(one.key)
    *_, outcome = given
    assert isinstance(outcome, Outcome)
    assert outcome.status is Status.pruned and str(outcome.error).startswith("stopped after step ")
    assert dict(outcome.metrics) == {"loss": 7}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("unit.report(2, loss=1); unit.report(1, loss=1)", "`step` must be a whole number that rises; got 1 after 1"),
        ("unit.report(1, loss=1); unit.report(1, loss=2)", "loss was reported twice at step 1"),
        ("unit.report(1, loss='low')", "the metric loss at step 1 is 'low'"),
        ("unit.report(1, loss=[1])", "the metric loss is [1] of type list"),
        ("unit.report(0.5, loss=1)", "`step` must be a whole number"),
        ("unit.report(1, loss=1); raise KeyError('mine')", "KeyError: 'mine'"),
    ],
)
def test_reports_that_can_be_no_series_fail_the_unit(functions: Functions, body: str, complaint: str) -> None:
    outcome, _ = functions.run(functions.spec(f"from landsweep import unit\ndef f(x):\n    {body}"))
    assert outcome.status is Status.failed and complaint in str(outcome.error)
    assert "session.py" not in str(outcome.error), "the traceback begins in the user's code"


def test_checkpoints_are_found_again_after_a_failure_and_removed_after_success(functions: Functions) -> None:
    source = """
    from landsweep import unit
    def f(x):
        state = unit.checkpoint_dir / "state"
        start = int(state.read_text()) if state.exists() else 0
        state.write_text(str(start + 1))
        if start < 2:
            raise RuntimeError("again")
        return {"start": start, "tries": unit.attempt, "device_": unit.device, "known": unit.key}
    """
    spec = functions.spec(source)
    assert [functions.run(spec)[0].status for _ in range(2)] == [Status.failed] * 2
    outcome, _ = functions.run(spec)
    assert dict(outcome.metrics) == {"start": 2, "tries": 3, "device_": "cpu", "known": outcome.key}
    assert not (functions.results / "units" / outcome.key).exists()


def test_what_is_to_be_kept_stays_and_a_second_evaluation_does_not_find_it(functions: Functions) -> None:
    source = """
    from landsweep import unit
    def f(x):
        unit.keep()
        there = (unit.checkpoint_dir / "state").exists()
        (unit.checkpoint_dir / "state").touch()
        return {"there": there}
    """
    spec = functions.spec(source)
    (one,) = KIND.planner(spec).ask(1)
    session = KIND.open(spec, {}, functions.bench())
    assert [dict(o.metrics) for _ in range(2) for o in without_lulls(session.evaluate([one]))] == [{"there": False}] * 2
    files = [p.relative_to(functions.results / "units").as_posix() for p in functions.results.rglob("state")]
    assert files == [f"{one.key}/checkpoints/state"]


def test_the_log_of_a_unit_is_shown_and_stays(functions: Functions) -> None:
    source = "from landsweep import unit\ndef f(x):\n    unit.log('read 3 shards')\n    return {'x_': x}"
    outcome, _ = functions.run(functions.spec(source))
    assert "read 3 shards" in unit_output(Store.at(functions.results), outcome.key[:6])


def test_a_log_is_shown_whatever_files_the_unit_has_left(functions: Functions) -> None:
    source = "from landsweep import unit\ndef f(x):\n    unit.log('read 3 shards')\n    return {'x_': x}"
    outcome, _ = functions.run(functions.spec(source))
    odd = os.fsencode(functions.results / "units" / outcome.key) + b"/data-\xff"  # no UTF-8
    os.close(os.open(odd, os.O_CREAT))
    assert "read 3 shards" in unit_output(Store.at(functions.results), outcome.key[:6])


def test_a_log_that_is_a_link_is_not_shown(functions: Functions) -> None:
    secret = functions.folder / "secret"
    secret.write_text("mine alone")
    key = functions.run(functions.spec("from landsweep import unit\n\ndef f(x):\n    unit.log('a')\n"))[0].key
    (functions.results / f"units/{key}/log.txt").unlink()
    (functions.results / f"units/{key}/log.txt").symlink_to(secret)
    shown = unit_output(Store.at(functions.results), key)
    assert "is a link" in shown and "mine alone" not in shown


def test_logs_in_a_folder_that_is_a_link_are_not_shown(functions: Functions) -> None:
    key = functions.run(functions.spec("from landsweep import unit\n\ndef f(x):\n    unit.log('mine alone')\n"))[0].key
    units = functions.results / "units"
    assert "mine alone" in unit_output(Store.at(functions.results), key)
    units.rename(functions.folder / "elsewhere")
    units.symlink_to(functions.folder / "elsewhere")
    with pytest.raises(SpecError, match=r"units is a link, to .*elsewhere"):
        unit_output(Store.at(functions.results), key)


def test_generators_may_use_it_too(functions: Functions) -> None:
    source = """
    from landsweep import unit
    def f(x):
        (unit.checkpoint_dir / "state").touch()
        yield {"step": 1, "loss": 2}
        unit.report(1, acc=0.5)
        yield {"step": 2, "loss": 1}
    """
    outcome, progress = functions.run(functions.spec(source))
    assert dict(outcome.metrics) == {"loss": 1}
    assert [(p.step, dict(p.metrics)) for p in progress] == [(1, {"loss": 2.0}), (1, {"acc": 0.5}), (2, {"loss": 1.0})]


ALONE = """
from landsweep import unit
unit.report(3, loss=0.5)
unit.log("hello")
assert not unit.should_stop() and unit.attempt == 1 and unit.device == "cpu" and unit.devices == ("cpu",)
(unit.checkpoint_dir / "state").touch()
"""


def test_a_thread_that_a_unit_has_left_behind_speaks_for_no_other_unit(functions: Functions) -> None:
    source = """
        import threading
        from landsweep import unit
        go, ended, said = threading.Event(), threading.Event(), []

        def late():
            go.wait(60)
            for speaks in (lambda: unit.report(0, loss=777), lambda: unit.log("late"), lambda: unit.checkpoint_dir):
                try:
                    said.append(speaks())
                except RuntimeError as e:
                    said.append(str(e))
            ended.set()

        def f(x):
            if x == 1:
                threading.Thread(target=late, daemon=True).start()
                return {"loss": 1, "refused": 0}
            go.set()
            ended.wait(60)
            own = threading.Thread(target=unit.report, args=(3,), kwargs={"loss": 2})
            own.start()
            own.join()
            return {"loss": 2, "refused": sum("was there before this unit" in str(text) for text in said)}
    """
    spec = functions.spec(source, axes={"x": [1, 2]})
    given = list(KIND.open(spec, {}, functions.bench()).evaluate(KIND.planner(spec).ask(2)))
    first, second = (given for given in given if isinstance(given, Outcome))
    assert (first.metrics["loss"], second.metrics["loss"], second.metrics["refused"]) == (1, 2, 3)
    assert [p.metrics for p in given if isinstance(p, Progress)] == [{"loss": 2.0}]


def test_a_script_that_runs_alone_prints(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "step 3: loss 0.5\nhello\n"
    assert (tmp_path / "checkpoints" / "state").exists()


@pytest.mark.parametrize(("gpus", "devices"), [(0, ["cpu"]), (0.5, ["cuda:0"]), (3, ["cuda:0", "cuda:1", "cuda:2"])])
def test_a_script_that_a_sweep_starts_knows_all_devices(tmp_path: Path, gpus: float, devices: list[str]) -> None:
    programs = Programs(tmp_path)
    source = "from landsweep import unit; report(first=unit.device, all=' '.join(unit.devices))"
    words = [word for word in programs.spec(source).command.run if word not in ("-I", "-S")]
    spec = programs.spec(source, command={"run": words})
    (outcome,), _ = programs.run(spec, gpus=gpus, device="cuda:0" if gpus else "cpu")
    assert outcome.status is Status.ok, outcome.error
    assert dict(outcome.metrics) == {"first": devices[0], "all": " ".join(devices)}


def test_a_script_that_a_sweep_starts_reports_to_it(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    spec = programs.spec(ALONE)
    words = [word for word in spec.command.run if word not in ("-I", "-S")]  # so that it finds landsweep
    spec = programs.spec(ALONE, command={"run": words})
    (outcome,), progress = programs.run(spec)
    assert outcome.status is Status.ok, outcome.error
    assert [(p.step, dict(p.metrics)) for p in progress] == [(3, {"loss": 0.5})]
    assert programs.file(outcome, "stdout.txt").read_text() == "hello\n"
    assert programs.file(outcome, "files/checkpoints/state").exists()


def test_a_script_that_uses_it_waits_for_no_library() -> None:
    code = "import sys; from landsweep import unit; unit.report(1, a=1); print(len([m for m in sys.modules if m in "
    code += "'torch ray pandas numpy pydantic pyarrow'.split()]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"


def test_data_may_be_named_as_a_function_too() -> None:
    one, other = (OwnData.model_validate({"source": "callable", name: "mine:f"}) for name in ("path", "function"))
    assert one == other and one.model_dump() == {"source": "callable", "path": "mine:f", "args": {}}


@pytest.mark.parametrize("way", ["return {'y': n}", "yield {'y': n}"])
def test_a_unit_that_is_evaluated_again_as_soon_as_it_has_ended_finds_no_checkpoint(
    functions: Functions, way: str
) -> None:
    """As a worker does that compares the two: it asks for nothing between."""
    source = f"""
    from landsweep import unit
    def f(x):
        file = unit.checkpoint_dir / "n"
        n = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(n))
        {way}
    """
    spec = functions.spec(source)
    session, units = KIND.open(spec, {}, functions.bench()), KIND.planner(spec).ask(1)
    once = next(o for o in session.evaluate(units) if isinstance(o, Outcome))
    running = session.evaluate(units)
    first = next(o for o in running if isinstance(o, Outcome))
    again = next(o for o in session.evaluate(units) if isinstance(o, Outcome))
    assert once.metrics == first.metrics == again.metrics == {"y": 1}
    running.close()


def test_the_first_unit_with_checkpoints_is_compared_with_itself(tmp_path: Path) -> None:
    (tmp_path / "keeps.py").write_text(
        "from landsweep import unit\n"
        "def f(x):\n"
        "    file = unit.checkpoint_dir / 'n'\n"
        "    file.write_text(file.read_text() + '.' if file.exists() else '.')\n"
        "    return {'y': x * len(file.read_text())}\n"
    )
    write_spec(tmp_path, {"kind": "function", "name": "k", "function": "keeps:f", "axes": {"x": [1, 2]}})
    said = command("run", "spec.yaml", "--site", "local", "site.tracking=off", cwd=tmp_path).stderr
    assert "the first unit was evaluated twice, with equal results" in said and "2 units (2 ok)" in said
