"""The command kind: the folder of a unit, from one attempt to the next, and what programs leave in it."""

from __future__ import annotations

import re
import subprocess

import pytest

from landsweep.orchestrator.row import Status
from tests.support.programs import KIND, Programs
from tests.support.sessions import without_lulls


@pytest.mark.parametrize("keep", ["all", "failed"])
def test_folders_of_units_that_ended_well_stay_or_not(programs: Programs, keep: str) -> None:
    spec = programs.spec(
        "import sys; report(loss=1); sys.exit(int(sys.argv[1]))", axes={"x": [0, 1]}, command={"keep": keep}
    )
    good, bad = programs.run(spec)[0]
    assert programs.file(good, "stdout.txt").exists() == (keep == "all")
    assert programs.file(bad, "stdout.txt").exists()


def test_a_folder_that_is_deeper_than_python_removes_takes_no_good_unit_with_it(programs: Programs) -> None:
    """Its path is also longer than the system takes, and it has folders and a file beside it at each end."""
    source = """
    import os
    os.chdir(os.environ["LANDSWEEP_DIR"])
    for name in ("side/a/b", "side/c"):
        os.makedirs(name)
    for _ in range(1200):
        os.mkdir("deep")
        os.chdir("deep")
    open("file", "w").close()
    report(loss=1)
    """
    try:
        outcome = programs.one(programs.spec(source, command={"keep": "failed"}))
        assert outcome.status is Status.ok, outcome.error
        assert not programs.file(outcome, "stdout.txt").parent.exists()
    finally:
        subprocess.run(["rm", "-rf", programs.results], check=True)  # pytest itself would end at it


def test_a_second_attempt_finds_the_files_and_goes_on_with_the_series(programs: Programs) -> None:
    source = """
    import sys
    from pathlib import Path
    state = Path(os.environ["LANDSWEEP_DIR"], "state")
    start = int(state.read_text()) if state.exists() else 0
    for step in range(start, 6):
        report(step=step, loss=10.0 - step)
        if step == 2:
            state.write_text("2")  # of the steps before it
        if step == 4 and os.environ["LANDSWEEP_ATTEMPT"] == "1":
            sys.exit(1)
    """
    spec = programs.spec(source)
    assert programs.one(spec).status is Status.failed
    (outcome,), progress = programs.run(spec)
    assert outcome.status is Status.ok and outcome.metrics["loss"] == 5.0
    assert [(p.step, p.metrics["loss"]) for p in progress] == [(s, 10.0 - s) for s in range(6)]


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        ("os.rename(D, D + '2'); os.symlink(D + '2', D)", "the unit's folder can't be used: .*files is a link"),
        ("os.remove(U + '/attempt'); os.mkfifo(U + '/attempt')", "the unit's folder can't be used: .*named pipe"),
        ("os.remove(U + '/stdout.txt'); os.symlink('/dev/null', U + '/stdout.txt')", ""),
        ("os.mkdir(U + '/metrics.jsonl')", ""),
        ("os.mkfifo(U + '/reported.jsonl.x'); os.replace(U + '/reported.jsonl.x', U + '/reported.jsonl')", ""),
    ],
)
def test_what_a_program_does_to_its_own_folder_fails_no_other_unit(programs: Programs, deed: str, error: str) -> None:
    source = f"""
    D, U = os.environ["LANDSWEEP_DIR"], os.environ["LANDSWEEP_UNIT"]
    if os.environ["LANDSWEEP_ATTEMPT"] == "1" and {{x}} == 1:
        {deed}
        os._exit(3)
    report(loss=0.5)
    """.replace("{x}", "int(__import__('sys').argv[1])")
    spec = programs.spec(source, axes={"x": [1, 2, 3]})
    first, _ = programs.run(spec)
    assert [o.status.value for o in first] == ["failed", "ok", "ok"]
    again, _ = programs.run(spec)
    assert [o.status.value for o in again[1:]] == ["ok", "ok"]
    assert again[0].status is (Status.failed if error else Status.ok), again[0].error
    assert re.search(error, str(again[0].error)) and "Traceback" not in str(again[0].error)


@pytest.mark.parametrize(
    ("write", "ok"),
    [
        ('open(M, "w").write(line(step))', False),
        ('open(M + "2", "w").write(line(step)); os.replace(M + "2", M)', False),
        ('open(M, "w").write(line(step) + " " * 50 * (step > 1))', False),
        ('step < 2 and open(M, "w").write(line(step)) or os.path.exists(M) and os.remove(M)', False),
        ('open(M, "w").write("".join(map(line, range(step + 1))))', True),
        ('open(M, "a").write(line(step))', True),
    ],
)
def test_lines_that_were_overwritten_are_noticed(programs: Programs, write: str, ok: bool) -> None:
    source = f"""
    import time
    M = os.environ["LANDSWEEP_METRICS"]
    def line(step):
        return json.dumps(dict(step=step, loss=9 - step)) + "\\n"
    for step in range(3):
        {write}
        while not os.path.getsize(os.environ["LANDSWEEP_UNIT"] + "/reported.jsonl"):
            time.sleep(0.02)  # until the first line has been read
    """
    outcome = programs.one(programs.spec(source))
    if ok:
        assert (outcome.status, outcome.metrics["loss"]) == (Status.ok, 7), outcome.error
    else:
        assert outcome.status is Status.failed and "written anew, or removed" in str(outcome.error)


def test_an_attempt_that_finds_all_done_gives_the_series_of_the_one_before(programs: Programs) -> None:
    source = """
    from pathlib import Path
    done = Path(os.environ["LANDSWEEP_DIR"], "done")
    if not done.exists():
        for step in range(3):
            report(step=step, loss=step)
        done.touch()
    report(final=1)
    """
    spec = programs.spec(source)
    once, points = programs.run(spec)
    again, same_points = programs.run(spec)
    assert dict(once[0].metrics) == dict(again[0].metrics) == {"loss": 2, "final": 1}
    assert points == same_points


def test_a_file_of_an_earlier_attempt_is_not_taken_for_a_result(programs: Programs) -> None:
    source = """
    path = os.environ["LANDSWEEP_DIR"] + "/r.json"
    if os.environ["LANDSWEEP_ATTEMPT"] == "1":
        open(path, "w").write('{"loss": 1}')
        os.utime(path, (1, 1))  # long ago
    """
    spec = programs.spec(source, command={"metrics": {"file": "r.json"}})
    programs.one(spec)
    assert "is of an earlier attempt" in str(programs.one(spec).error)


def test_a_unit_that_is_evaluated_twice_has_an_empty_folder_both_times(programs: Programs) -> None:
    source = "p = os.environ['LANDSWEEP_DIR'] + '/x'; report(there=os.path.exists(p)); open(p, 'w')"
    spec = programs.spec(source, deterministic=True)
    unit = KIND.planner(spec).ask(1)
    session = KIND.open(spec, {}, programs.bench())
    assert [dict(o.metrics) for _ in range(2) for o in without_lulls(session.evaluate(unit))] == [{"there": False}] * 2
    assert sorted(p.name for p in (programs.results / "units").iterdir()) == [unit[0].key]
