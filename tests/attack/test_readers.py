"""Every reader of every file of a results folder, with files that nobody but a stranger would write.

Each either reads or refuses: with an error of landsweep, in bounded time, never with a traceback. `make fuzz` tries
more of the same.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from landsweep import Zoo
from landsweep.cluster.jobs.follow import progress
from landsweep.cluster.jobs.jobs import jobs_of
from landsweep.cluster.launchers.launcher import status_at_end
from landsweep.cluster.node.driver import load_launch
from landsweep.orchestrator.commands.display import findings_text, state, state_text
from landsweep.orchestrator.errors import LandsweepError, UsageError
from landsweep.orchestrator.notes import is_own
from landsweep.orchestrator.report.values import brief
from landsweep.orchestrator.run.manifest import check_same, read_manifest
from landsweep.orchestrator.run.sweep import Sweep, ledger_at
from landsweep.orchestrator.storage.ledger import Ledger, Store, load_prepared
from landsweep.orchestrator.storage.ledger.lock import DriverLock, driver_here, driver_lives
from landsweep.orchestrator.storage.ledger.parts import _ABOUT
from landsweep.orchestrator.storage.ledger.prepared import check_prepared
from landsweep.orchestrator.storage.ledger.seal import seal
from landsweep.sweeps.zoo.export import export_zoo
from tests.attack.folders import FUNCTION, ZOO, command, ran
from tests.attack.fuzzing import RAW, changed, fuzz, refusing


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("function"), FUNCTION)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("zoo"), ZOO)


@contextlib.contextmanager
def replaced(file: Path, data: bytes) -> Iterator[None]:
    """While this lasts, the file holds something else."""
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)


def content(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(file.read_bytes())
    return data


def shown(results: Path) -> None:
    state_text(state(ledger_at(results)))  # as `status` reads it
    sweep = Sweep.at(results)
    findings_text(sweep.ledger.verify(sweep.keys()), "x")
    sweep.rows()
    check_same(sweep.ledger.sweep, sweep.kind, sweep.spec, "x")


@given(st.data())
@fuzz
def test_sweep_json(function: Path, data: st.DataObject) -> None:
    with replaced(function / "sweep.json", data.draw(changed(content(function / "sweep.json")))):
        refusing(lambda: shown(function))
        refusing(lambda: is_own(function, Ledger.open(Store.at(function)).sweep))


def test_half_a_character_as_a_name_in_sweep_json(function: Path) -> None:
    facts = content(function / "sweep.json")
    facts["spec"]["axes"] |= {"\ud800": [1]}
    with pytest.raises(UsageError, match=r"sweep\.json is damaged: a name or text in it holds half a character"):
        read_manifest(facts, "sweep.json")


@given(st.data())
@fuzz
def test_sweep_json_of_a_zoo(zoo: Path, data: st.DataObject) -> None:
    def read() -> None:
        there = Zoo(zoo)
        for member in there:
            member.module()
            there.recipe(member.key)
        _ = there.swept

    with replaced(zoo / "sweep.json", data.draw(changed(content(zoo / "sweep.json")))):
        refusing(lambda: shown(zoo))
        refusing(read)


@given(st.data())
@fuzz
def test_status_json(function: Path, data: st.DataObject) -> None:
    with replaced(function / "status.json", data.draw(changed(content(function / "status.json")))):
        shown(function)  # a view: whatever it holds, the sweep can be read


@given(st.data(), st.sampled_from(["000001.json", "000007.json", "²³.json", "x.json", "9" * 30 + ".json"]))
@fuzz
def test_the_lock(function: Path, data: st.DataObject, name: str) -> None:
    file = next((function / "lock").iterdir())
    with replaced(function / "lock" / name, data.draw(changed({**content(file), "released": False}))):
        store = Store.at(function)
        driver_here(store)
        driver_lives(store)
        with contextlib.suppress(LandsweepError):
            lock = DriverLock.take(store, stale=0.05)
            lock.release()
            for left in (function / "lock").iterdir():
                left.unlink()
            file.write_text("{}")


JOB = {
    "number": 1, "name": "a", "out": "x", "home": "h", "job": "7", "type": "ssh", "command": "x", "submitted": 1.0,
    "user": "me", "host": "here", "state": "running", "told": "", "seen": 0.0, "launcher": {"type": "ssh"},
}  # fmt: skip
LAUNCH = {
    "name": "a", "out": "x", "home": "h", "number": 1, "kind": "function", "spec": {}, "folder": ".", "cwd": ".",
    "site": {}, "command": "x", "versions": {"ray": "1"}, "seconds": None, "bytes": 0,
}  # fmt: skip


@given(st.data())
@fuzz
def test_job_json(function: Path, data: st.DataObject) -> None:
    with replaced(function / "jobs/0001/job.json", data.draw(changed(JOB))):
        refusing(lambda: [progress(job) for job in jobs_of(function)])


@given(st.data())
@fuzz
def test_launch_json_and_the_exit_code(function: Path, data: st.DataObject) -> None:
    raw = data.draw(changed(LAUNCH))
    with replaced(function / "jobs/0001/launch.json", raw):
        refusing(lambda: load_launch(str(function / "jobs/0001/launch.json")))
    with replaced(function / "jobs/0001/exit", raw):
        status_at_end(function / "jobs/0001")


COLUMNS = st.sampled_from(
    [pa.array(["a", "a"]), pa.array([1, 2]), pa.array([None, None]), pa.array([b"\xff", b"x"]), pa.array([[1], []]),
     pa.array([{"a": 1}, None]), pa.array(["", "\x00"]), pa.array([True, False]), pa.array(["ok", "no status"]),
     pa.array(["a", "b"]).dictionary_encode(), pa.array([1e308, float("nan")])]
)  # fmt: skip
ABOUT = st.sampled_from(['{"replaces": [], "level": 0, "series": null}'] * 3) | changed(
    {"replaces": [[0, 3]], "level": 0, "series": "part-000000-aa.parquet"}
).map(lambda raw: raw.decode("utf-8", "replace").replace("\x00", ""))


@given(st.data(), st.sampled_from(["rows", "series"]))
@fuzz
def test_parts_with_a_right_seal(function: Path, data: st.DataObject, folder: str) -> None:
    """Anybody can seal a file: its columns and its words are as a stranger wants them."""
    names = data.draw(st.lists(st.sampled_from(["key", "status", "x", "error", "step"]), unique=True, max_size=4))
    table = pa.table({name: data.draw(COLUMNS) for name in names})
    raw = bytes(seal(table, {_ABOUT: data.draw(ABOUT), "x": "y"}))
    if data.draw(st.integers(0, 3)) == 0:
        raw = raw[: len(raw) // 2] if data.draw(st.booleans()) else data.draw(RAW)
    with replaced(function / folder / "part-000050.parquet", raw):
        refusing(lambda: shown(function))
        refusing(lambda: Sweep.at(function).series())


@given(st.data())
@fuzz
def test_prepared_files(function: Path, data: st.DataObject) -> None:
    store, raw = Store.at(function), data.draw(RAW | st.just(save({"size": np.zeros(2)})))
    about = {"digest": "0", "bytes": "0", "host": "x"}
    with (
        replaced(function / "prepared/a.safetensors", raw),
        replaced(function / "prepared/a.json", data.draw(changed(about))),
    ):
        check_prepared(store)
        load_prepared(store, "a.safetensors")


INDEX = [{"shape": [6], "outputs": 2, "keys": ["a"]}]


@given(st.data())
@fuzz
def test_weight_files(zoo: Path, data: st.DataObject) -> None:
    file = next((zoo / "weights").iterdir())
    index = data.draw(changed({"packs": INDEX}).map(lambda raw: raw.decode("utf-8", "replace")))
    raw = save({"0/last/0.weight": np.zeros((2, 3, 2), np.float32)}, {"format": "x", "packs": index})
    with replaced(file, data.draw(st.sampled_from([raw, raw[:-7], raw[:4]]) | RAW)):
        there = Zoo(zoo)
        for member in there:
            refusing(lambda member=member: member.state())
            refusing(lambda member=member: member.module())
            refusing(lambda member=member: member.vector())


@pytest.mark.parametrize("keys", [[None, "b"], [None, None]])
def test_a_part_whose_rows_lack_keys_is_damage(function: Path, keys: list[str | None]) -> None:
    table = pa.table({"key": pa.array(keys, pa.string()), "status": ["ok", "ok"]})
    raw = bytes(seal(table, {_ABOUT: '{"replaces": [], "level": 0, "series": null}'}))
    with replaced(function / "rows/part-000050.parquet", raw):
        shown(function)
        assert [d.path for d in Sweep.at(function).ledger.verify().damaged] == ["rows/part-000050.parquet"]


def nested(levels: int, make: Callable[[object], object]) -> object:
    value: object = 0
    for _ in range(levels):
        value = make(value)
    return value


@pytest.mark.parametrize("field", ["description", "fixed", "unknown"])
@pytest.mark.parametrize("make", [lambda v: [v], lambda v: {"a": v}, lambda v: [{"a": [1, v]}, 2]])
@pytest.mark.parametrize("levels", [101, 300])
def test_json_that_is_nested_too_deeply_is_refused(
    function: Path, field: str, make: Callable[[object], object], levels: int
) -> None:
    """Python reads some 1,000 levels; what is made from them then fails in its own ways."""
    head = content(function / "sweep.json")
    head["spec"][field] = nested(levels, make)
    with replaced(function / "sweep.json", json.dumps(head).encode()):
        for words in (("status",), ("verify",), ("report",)):
            done = command(words[0], function, cwd=function.parent)
            assert done.returncode == 2 and "nested too deeply" in done.stderr, done.stderr


@pytest.mark.parametrize("folder", ["rows", "series"])
def test_a_table_of_an_export_that_lacks_columns_is_refused(zoo: Path, tmp_path: Path, folder: str) -> None:
    export_zoo(Zoo(zoo), tmp_path / "export")
    for table in (pa.table({"a": [1]}), pa.table({"key": ["a"]}), pa.table({"key": ["a"], "metric": ["b"]})):
        pq.write_table(table, tmp_path / "export" / folder / "more.parquet")
        with pytest.raises(UsageError, match="it lacks"):
            Zoo(tmp_path / "export").series()


ENDLESS = {"axes": {f"a{i}": {"range": 100_000} for i in range(3)}}


@pytest.mark.parametrize("changes", [ENDLESS, {"axes": {"x": {"linear": [0, 1, 10_000]}, "y": {"range": 1_001}}}])
def test_a_plan_of_a_stranger_is_not_endless(function: Path, changes: dict[str, Any]) -> None:
    head = content(function / "sweep.json")
    head["spec"] |= changes
    with replaced(function / "sweep.json", json.dumps(head).encode()):
        for word in ("verify", "report"):
            done = command(word, function, cwd=function.parent)
            assert done.returncode == 2 and "can be planned" in done.stderr, done.stderr


def test_a_zoo_of_endless_samples_is_not_gone_through(zoo: Path) -> None:
    head = content(zoo / "sweep.json")
    head["spec"]["samples"] = {"count": 10**12, "draw": {"optimizer.momentum": {"uniform": [0, 0.9]}}}
    with replaced(zoo / "sweep.json", json.dumps(head).encode()):
        done = command("verify", zoo, cwd=zoo.parent)
        assert done.returncode == 2 and "can be planned" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "spec", [{"a": list(range(3_000_000))}, {"a": "x" * 30_000_000}, {"a": [{"b": [1] * 1000}] * 100_000}]
)
def test_a_spec_on_a_page_is_no_longer_than_can_be_read(spec: dict[str, Any]) -> None:
    shown_values = json.dumps(brief(spec))
    assert len(shown_values) < 1_000_000 and "..." in shown_values
    small = {"a": [1, 2.5, {"b": "c"}], "d": None, "e": (True, [])}
    assert brief(small) == {"a": [1, 2.5, {"b": "c"}], "e": [True, []]}


def test_a_zoo_without_its_spec_is_damaged(zoo: Path) -> None:
    head = content(zoo / "sweep.json")
    del head["spec"]
    with replaced(zoo / "sweep.json", json.dumps(head).encode()), pytest.raises(LandsweepError, match="no spec"):
        Zoo(zoo)


def test_formats_of_the_future_are_named(function: Path) -> None:
    head = content(function / "sweep.json")
    with replaced(function / "sweep.json", json.dumps({**head, "format": 99}).encode()):
        done = command("status", function, cwd=function)
        assert done.returncode == 2 and "later landsweep" in done.stderr
    with replaced(function / "sweep.json", json.dumps({**head, "from_the_future": 1}).encode()):
        assert command("status", function, cwd=function).returncode == 0


def test_a_copy_without_its_spec_is_refused(function: Path, tmp_path: Path) -> None:
    shutil.copytree(function, tmp_path / "copy")
    (tmp_path / "copy/sweep.json").unlink()
    for line in (("status",), ("verify",), ("report",), ("rerun",)):
        done = command(*line, tmp_path / "copy", cwd=tmp_path)
        assert done.returncode == 2 and "sweep.json" in done.stderr
