"""The function kind: what a callable may give, and what becomes of it."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench, kind_named
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.row import Cause, Outcome, Progress, RowMaker, Status
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.unit import stream_seed
from landsweep.sweeps.function.kind import FunctionKind, FunctionSpec
from tests.support.paths import SHIPPED_SPECS

KIND = FunctionKind()
_names = count()


class Script:
    """A module of the user's, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, source: str, **fields: object) -> FunctionSpec:
        """A spec that sweeps the function `f` of a new module with this source."""
        module = f"users_script_{next(_names)}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        given: dict[str, Any] = {"name": "t", "function": f"{module}:f", "axes": {"x": [1, 2]}, **fields}
        if given.get("setup") == "SETUP":
            given["setup"] = f"{module}:setup"
        return parse(FunctionSpec, given, "test")

    def run(self, spec: FunctionSpec, **bench: object) -> tuple[list[Outcome], list[Progress]]:
        lent = Workbench(folder=self.folder, **bench)  # type: ignore[arg-type]
        KIND.check(spec, lent)
        units = KIND.planner(spec).ask(1000)
        given = list(KIND.open(spec, {}, lent).evaluate(units))
        outcomes = [g for g in given if isinstance(g, Outcome)]
        assert [o.key for o in outcomes] == [u.key for u in units], "one outcome for each unit, in order"
        maker = RowMaker(KIND.params(spec), KIND.columns(spec))
        assert all(maker.undeclared(o) is None for o in outcomes)
        assert maker.batch(units, outcomes, [{}] * len(units)).num_rows == len(units)
        return outcomes, [g for g in given if isinstance(g, Progress)]

    def refused(self, spec: FunctionSpec) -> str:
        with pytest.raises(SpecError) as e:
            KIND.check(spec, Workbench(folder=self.folder))
        return str(e.value)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Script(tmp_path)


def test_params_and_fixed_arguments_reach_the_function(script: Script) -> None:
    spec = script("def f(x, scale, label): return {'y': x * scale, 'label': label}", fixed={"scale": 10, "label": "a"})
    outcomes, progress = script.run(spec)
    assert [dict(o.metrics) for o in outcomes] == [{"y": 10, "label": "a"}, {"y": 20, "label": "a"}]
    assert {o.status for o in outcomes} == {Status.ok}
    assert progress == []


def test_numpy_scalars_flags_and_none_become_plain_values(script: Script) -> None:
    source = """
    import numpy as np
    def f(x):
        return {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.array(2.5), "e": None, "s": "t"}
    """
    metrics = script.run(script(source))[0][0].metrics
    assert metrics == {"a": 0.5, "b": 3, "c": True, "d": 2.5, "e": None, "s": "t"}
    assert {k: type(v) for k, v in metrics.items()} == {
        "a": float, "b": int, "c": bool, "d": float, "e": type(None), "s": str
    }  # fmt: skip


def test_nan_and_inf_are_values_and_not_divergence(script: Script) -> None:
    outcome = script.run(script("def f(x): return {'loss': float('nan'), 'top': float('inf')}"))[0][0]
    assert outcome.status is Status.ok
    assert math.isnan(outcome.metrics["loss"]) and outcome.metrics["top"] == math.inf  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "metrics", "error"),
    [
        ("return {'status': 'diverged', 'error': 'left the box', 'steps': 3}", {"steps": 3}, "left the box"),
        ("return {'status': 'diverged'}", {}, "the function says so"),
        ("raise FloatingPointError('overflow')", {}, "FloatingPointError: overflow"),
    ],
)
def test_a_function_says_that_it_diverged(script: Script, body: str, metrics: dict[str, Any], error: str) -> None:
    outcome = script.run(script(f"def f(x): {body}"))[0][0]
    assert (outcome.status, dict(outcome.metrics), outcome.error) == (Status.diverged, metrics, error)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return 3.5", "returned 3.5 of type float; it must return a dict"),
        ("return None", "returned None of type NoneType"),
        ("return {'a': [1, 2]}", "the metric a is [1, 2] of type list; a metric is a number"),
        ("return {'a': 2**70}", "is an int of 71 bits; 64 fit"),
        ("return {1: 2}", "names of metrics must be text; got 1"),
        ("return {'seconds': 1}", "columns of its own named ['seconds']"),
        ("return {'status': 'fine'}", "returned status 'fine'; allowed are 'ok' and 'diverged'"),
        ("return {'a': __import__('numpy').ones(3)}", "of type ndarray; a metric is"),
        ("import numpy as np; return {'a': np.ma.masked}", "of type MaskedConstant; a metric is"),
        ("import numpy as np; return {'a': np.ma.array(7.5, mask=True)}", "of type MaskedArray; a metric is"),
    ],
)
def test_a_result_that_is_no_row_fails_with_the_reason(script: Script, body: str, complaint: str) -> None:
    outcome = script.run(script(f"def f(x): {body}"))[0][0]
    assert (outcome.status, outcome.cause) == (Status.failed, Cause.error)
    assert complaint in (outcome.error or "")


def test_an_exception_fails_its_unit_alone_and_the_traceback_begins_in_the_function(script: Script) -> None:
    source = """
    import sys
    def inner(x):
        if x == 1:
            raise KeyError("lost")
        if x == 2:
            sys.exit("script ends")
        return {"y": x}
    def f(x):
        return inner(x)
    """
    one, two, three = script.run(script(source, axes={"x": [1, 2, 3]}))[0]
    assert (one.status, one.cause) == (Status.failed, Cause.error)
    lines = (one.error or "").splitlines()
    assert "users_script" in lines[1] and "in f" in lines[1], "first frame is the user's function"
    assert "sweeps/function/kind.py" not in (one.error or "")
    assert lines[-1] == "KeyError: 'lost'"
    assert "SystemExit: script ends" in (two.error or "")
    assert (three.status, three.metrics) == (Status.ok, {"y": 3})


def test_running_out_of_memory_is_left_to_the_worker(script: Script) -> None:
    spec = script("def f(x): raise MemoryError")
    units = KIND.planner(spec).ask(1)
    with pytest.raises(MemoryError):
        list(KIND.open(spec, {}, Workbench(folder=script.folder)).evaluate(units))


def test_a_generator_gives_a_series_and_returns_the_row(script: Script) -> None:
    source = """
    def f(x):
        for i in range(3):
            yield {"step": 10 * i, "loss": x / (i + 1), "phase": "warm"}
        return {"final": x}
    """
    outcomes, progress = script.run(script(source))
    assert [dict(o.metrics) for o in outcomes] == [{"final": 1}, {"final": 2}]
    assert [(p.step, dict(p.metrics)) for p in progress[:3]] == [
        (0, {"loss": 1.0}), (10, {"loss": 0.5}), (20, {"loss": 1 / 3})
    ]  # fmt: skip
    assert {p.key for p in progress[3:]} == {outcomes[1].key}


def test_without_a_return_the_last_yield_is_the_row_and_steps_are_counted(script: Script) -> None:
    outcomes, progress = script.run(script("def f(x):\n    yield {'a': 1}\n    yield {'a': 2, 'b': 't'}"))
    assert dict(outcomes[0].metrics) == {"a": 2, "b": "t"}
    assert [p.step for p in progress[:2]] == [0, 1]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("yield {'a': 1.5}; raise FloatingPointError('nan')", Status.diverged, "FloatingPointError after step 0: nan"),
        ("yield {'step': 2}; yield {'step': 2}", Status.failed, "`step` must be a whole number that rises; got 2"),
        ("yield 3", Status.failed, "yielded 3 of type int"),
        ("yield {'a': 1}; raise ValueError('x')", Status.failed, "ValueError: x"),
    ],
)
def test_a_generator_that_breaks_off(script: Script, body: str, status: Status, error: str) -> None:
    outcome = script.run(script(f"def f(x):\n    {body}"))[0][0]
    assert outcome.status is status
    assert error in (outcome.error or "")
    assert dict(outcome.metrics) == ({"a": 1.5} if status is Status.diverged else {})


def test_a_stopped_unit_is_closed_and_keeps_what_it_yielded_last(script: Script) -> None:
    source = """
    closed = []
    def f(x):
        try:
            for i in range(1000):
                yield {"loss": 1.0 - i}
        finally:
            closed.append(x)
    """
    spec = script(source)
    first = KIND.planner(spec).ask(1)[0].key
    asked = count()
    outcomes, progress = script.run(spec, stopped=lambda key: key == first and next(asked) == 4)
    assert (outcomes[0].status, dict(outcomes[0].metrics)) == (Status.pruned, {"loss": -3.0})
    assert outcomes[0].error == "stopped after step 4"
    assert sum(p.key == first for p in progress) == 5
    assert dict(outcomes[1].metrics) == {"loss": -998.0} and outcomes[1].error is None
    module = __import__(spec.function.partition(":")[0])
    assert module.closed == [1, 2]


def test_the_set_up_function_runs_once_and_gets_what_it_asks_for(script: Script) -> None:
    source = """
    calls = []
    def setup(threads):
        calls.append(threads)
        return {"data": 100}
    def f(x, setup): return {"y": setup["data"] + x, "calls": len(calls)}
    """
    outcomes, _ = script.run(script(source, setup="SETUP"), threads=7)
    assert [dict(o.metrics) for o in outcomes] == [{"y": 101, "calls": 1}, {"y": 102, "calls": 1}]


def test_a_seed_depends_on_the_unit_alone_and_is_shared_by_equal_seed_params(script: Script) -> None:
    spec = script(
        "def f(seed, lr, rng): return {'r': str(rng)}", seed_argument="rng", axes={"seed": [0, 1], "lr": [0.1, 0.2]}
    )
    seeds = [o.metrics["r"] for o in script.run(spec)[0]]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]
    assert seeds[0] == str(stream_seed(KIND.planner(spec).ask(1)[0], "function"))


def test_no_unit_can_change_the_fixed_arguments_of_the_next(script: Script) -> None:
    spec = script("def f(x, seen):\n    seen.append(x)\n    return {'n': len(seen)}", fixed={"seen": []})
    assert [o.metrics["n"] for o in script.run(spec)[0]] == [1, 1]


def test_declared_columns_are_kept(script: Script) -> None:
    columns = {"n": {"type": "int"}, "ok": {"type": "bool"}, "loss": {"unit": "nats", "doc": "the loss"}}
    source = """
    def f(x):
        return [{"n": 3.0, "ok": True, "loss": 2}, {"n": 3.5}, {"ok": "yes"}, {"other": 1}, {"loss": "low"}][x]
    """
    outcomes, _ = script.run(script(source, columns=columns, axes={"x": {"range": 5}}))
    assert dict(outcomes[0].metrics) == {"n": 3, "ok": True, "loss": 2}
    assert [o.status for o in outcomes[1:]] == [Status.failed] * 4
    assert "the metric n is 3.5 of type float, but its column is declared as int" in (outcomes[1].error or "")
    assert "not among the declared columns ['loss', 'n', 'ok']" in (outcomes[3].error or "")


@pytest.mark.parametrize(
    ("signature", "fields", "complaint"),
    [
        ("x, rate=1", {"axes": {"x": [1], "rat": [2]}}, "takes no argument 'rat'; did you mean 'rate'?"),
        ("x, lr", {}, "f(x, lr): it needs ['lr']: give them under axes, samples or fixed"),
        ("x, /", {}, "by position only"),
        ("x", {"seed_argument": "seed"}, "takes no argument 'seed'"),
    ],
)
def test_arguments_are_checked_before_any_work(
    script: Script, signature: str, fields: dict[str, Any], complaint: str
) -> None:
    assert complaint in script.refused(script(f"def f({signature}): return {{}}", **fields))


def test_what_cannot_be_imported_is_refused_with_its_place(script: Script) -> None:
    assert "there is no module 'nowhere'" in script.refused(script("", function="nowhere:f"))
    assert "has no 'f'" in script.refused(script("g = 1"))
    broken = script.refused(script("x = 1\nimport not_installed_anywhere\ndef f(x): return {}"))
    assert "ModuleNotFoundError" in broken and "line 2" in broken
    assert "needs ['path']" in script.refused(script("def setup(path): ...\ndef f(x, setup): ...", setup="SETUP"))


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("sys.exit(main())", "calls sys.exit(7) while it is imported"),
        ("sys.exit()", "calls sys.exit() while it is imported"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--no-such-option'])", "calls sys.exit(2) while"),
        ("import asyncio; raise asyncio.CancelledError('no')", "importing"),  # no Exception either
    ],
)
def test_a_script_that_ends_the_process_at_import_is_refused_with_the_cause(
    script: Script, last: str, said: str
) -> None:
    source = f"import sys\ndef f(x): return {{}}\ndef main(): return 7\n{last}\n"
    assert said in script.refused(script(source))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"fixed": {"x": 1}}, "['x'] stand under axes or samples and under fixed"),
        ({"axes": {"setup": [1]}, "setup": "a:b"}, "['setup'] are given by setup or seed_argument"),
        ({"axes": {"seconds": [1]}}, "columns of their own named ['seconds']"),
        ({"columns": {"x": {}}}, "the names ['x'] under columns are taken"),
        ({"axes": {}}, "axes"),
        ({"function": "math.sin"}, "function"),
        ({"seed_arg": "s"}, "did you mean 'seed_argument'?"),
    ],
)
def test_a_spec_that_cannot_work_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError) as e:
        parse(FunctionSpec, {"name": "t", "function": "a:b", "axes": {"x": [1]}, **fields}, "spec")
    assert complaint in str(e.value)


def test_meaning_of_columns_and_growing_axes_keep_the_keys_but_another_version_does_not() -> None:
    base = {"name": "t", "function": "a:b", "axes": {"x": [1, 2]}}

    def keys(**fields: object) -> list[str]:
        return [u.key for u in KIND.planner(parse(FunctionSpec, {**base, **fields}, "spec")).ask(100)]

    assert keys(columns={"y": {"doc": "new words"}}, deterministic=False, name="u") == keys()
    assert keys(axes={"x": [1, 2, 3]})[:2] == keys()
    assert not set(keys(version=2)) & set(keys())


def test_the_example_and_the_shipped_spec_run(tmp_path: Path) -> None:
    shipped = parse(FunctionSpec, read_yaml(SHIPPED_SPECS / "function_minima.yaml"), "spec")
    for spec in (KIND.example(), shipped):
        KIND.check(spec, Workbench(folder=tmp_path))
        units = KIND.planner(spec).ask(8)
        outcomes = list(KIND.open(spec, {}, Workbench(folder=tmp_path)).evaluate(units))
        assert len(outcomes) == 8
        declared = {c.name for c in KIND.columns(spec) or ()} or outcomes[0].metrics.keys()
        assert all(o.metrics.keys() <= declared for o in outcomes if isinstance(o, Outcome))
        assert {o.status for o in outcomes if isinstance(o, Outcome)} == {Status.ok}


def test_the_kind_is_registered_and_needs_no_torch() -> None:
    assert isinstance(kind_named("function"), FunctionKind)
    code = "import sys; from landsweep.sweeps.function import examples, kind; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
