"""The command kind: what a program is given, what it may report, and what becomes of it."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest

from landsweep.orchestrator.row import Cause, Status
from landsweep.sweeps.lab.programs import output
from tests.support.programs import Programs

ECHO = "import sys; report(words=json.dumps(sys.argv[1:]))"


def words_of(outcome: Any) -> list[str]:
    assert outcome.status is Status.ok, outcome.error
    words: list[str] = json.loads(outcome.metrics["words"])
    return words


def test_values_are_arguments_as_they_are(programs: Programs) -> None:
    hostile = ["a b", "$(touch hacked)", "; touch hacked", 'it\'s "so"', "{seed}", "*", "-x", "", "é\n"]
    spec = programs.spec(ECHO, "--x={x}", "{x}", axes={"x": hostile})
    outcomes, _ = programs.run(spec)
    assert [words_of(o) for o in outcomes] == [[f"--x={v}", v] for v in hostile]
    assert not list(programs.folder.rglob("hacked"))


def test_numbers_flags_and_null_are_read_back_exactly(programs: Programs) -> None:
    values = [0.1, 1e-7, 64, True, None, "adam", [1, {"a": "b"}]]
    outcomes, _ = programs.run(programs.spec(ECHO, "optimizer.lr={x}", axes={"x": values}))
    texts = ["0.1", "1e-07", "64", "true", "null", "adam", '[1,{"a":"b"}]']
    assert [words_of(o) for o in outcomes] == [[f"optimizer.lr={text}"] for text in texts]


def test_a_list_in_the_list_is_left_out_where_a_param_is_null(programs: Programs) -> None:
    spec = programs.spec(ECHO, "a", ["--x", "{x}"], "b", axes={"x": [1, None]})  # type: ignore[arg-type]
    assert [words_of(o) for o in programs.run(spec)[0]] == [["a", "--x", "1", "b"], ["a", "b"]]


def test_what_every_unit_is_given(programs: Programs) -> None:
    source = """
    import sys
    from pathlib import Path
    seed, folder, key, attempt, home = sys.argv[1:6]
    assert Path(folder).is_dir() and not any(Path(folder).iterdir())
    assert folder == os.environ["LANDSWEEP_DIR"] and key == os.environ["LANDSWEEP_KEY"]
    report(seed=int(seed), key_=key, attempt_=int(attempt), home=home, cwd=os.getcwd(), threads=os.environ["THREADS"])
    """
    words = ("{seed}", "{dir}", "{key}", "{attempt}", "{folder}", "{x}")
    spec = programs.spec(source, *words, axes={"x": [1, 2]}, command={"env": {"THREADS": "{x}"}})
    outcomes, _ = programs.run(spec)
    first, second = (o.metrics for o in outcomes)
    assert {o.status for o in outcomes} == {Status.ok}, outcomes[0].error
    assert first["key_"] == outcomes[0].key and first["attempt_"] == 1
    assert first["home"] == first["cwd"] == str(programs.folder)
    assert (first["threads"], second["threads"]) == ("1", "2")
    assert first["seed"] != second["seed"] and 0 <= int(first["seed"] or 0) < 2**31


def test_lines_of_json_with_steps_become_series_and_the_last_values_the_row(programs: Programs) -> None:
    source = """
    for step in range(3):
        report(step=step, loss=1 / (step + 1), val={"acc": step / 2})
    report(best="b", nothing=None, top=float("inf"))
    """
    (outcome,), progress = programs.run(programs.spec(source))
    assert dict(outcome.metrics) == {"loss": 1 / 3, "val.acc": 1.0, "best": "b", "nothing": None, "top": math.inf}
    assert [(p.step, dict(p.metrics)) for p in progress] == [
        (0, {"loss": 1.0, "val.acc": 0.0}),
        (1, {"loss": 0.5, "val.acc": 0.5}),
        (2, {"loss": 1 / 3, "val.acc": 1.0}),
    ]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_patterns_find_metrics_in_what_is_printed(programs: Programs, stream: str) -> None:
    source = f"""
    import sys
    out = sys.{stream}
    print("epoch 1: loss 0.5 acc 10%\\repoch 2: loss nan acc 20%", file=out)
    print("other\\ntest 1e-3", end="", file=out)
    """
    pattern = [r"epoch (?P<step>\d+): loss (?P<loss>\S+)(?: acc (?P<acc>\d+)%)?", r"^test (?P<test>\S+)"]
    (outcome,), progress = programs.run(programs.spec(source, command={"metrics": {"pattern": pattern}}))
    assert outcome.status is Status.ok, outcome.error
    assert outcome.metrics["acc"] == 20 and outcome.metrics["test"] == 0.001
    assert math.isnan(float(outcome.metrics["loss"] or 0))
    assert [p.step for p in progress] == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "row", "steps"),
    [
        ("r.json", '{"loss": 0.5, "eval": {"acc": 1}}', {"loss": 0.5, "eval.acc": 1}, []),
        ("r.json", '[{"step": 1, "loss": 2}, {"step": 2, "loss": 1}]', {"loss": 1}, [1, 2]),
        ("r.jsonl", '{"loss": 2}\n\n{"loss": 1}\n', {"loss": 1}, []),
        ("r.csv", "step,loss,val\n1,0.5,\n2,0.25,0.3\n", {"loss": 0.25, "val": 0.3}, [1, 2]),
    ],
)
def test_files_are_read_at_the_end(programs: Programs, name: str, text: str, row: Any, steps: list[int]) -> None:
    source = f"open(os.environ['LANDSWEEP_DIR'] + '/{name}', 'w').write({text!r})"
    (outcome,), progress = programs.run(programs.spec(source, command={"metrics": {"file": f"*{name[1:]}"}}))
    assert (outcome.status, dict(outcome.metrics)) == (Status.ok, row), outcome.error
    assert [p.step for p in progress] == steps


@pytest.mark.parametrize(
    ("source", "metrics", "complaint"),
    [
        ("pass", {}, "gave no metrics. Let it write JSON lines to the file"),
        ("print('loss: low')", {"pattern": r"loss: (?P<loss>\S+)"}, "matched 'low', which is no number"),
        ("print('Loss 1')", {"pattern": r"loss (?P<loss>\S+)"}, "matched none of the 1 lines"),
        ("report(step=1, loss='low')", {}, "the metric loss is the text 'low' at step 1"),
        ("report(step='one', loss=1)", {}, "`step` must be a whole number, 0 or more; got 'one'"),
        ("report(step=0.5, loss=1)", {}, "`step` must be a whole number"),
        ("report(step=-1, loss=1)", {}, "`step` must be a whole number"),
        ("report(step=2, loss=1); report(step=1, loss=1)", {}, "the step of loss fell from 2 to 1"),
        ("report(loss=[1, 2])", {}, "the metric loss is [1, 2] of type list"),
        ("report(seconds=1)", {}, "columns of its own named ['seconds']"),
        ("open(os.environ['LANDSWEEP_METRICS'], 'w').write('loss 1')", {}, "LANDSWEEP_METRICS, line 1: 'loss 1' is no"),
        ("open(os.environ['LANDSWEEP_METRICS'], 'w').write('[1]')", {}, "each line must be an object"),
        ("report(loss=1)", {"file": "r.json"}, "left no file r.json in {dir}; there are: none"),
        (
            "open(os.environ['LANDSWEEP_DIR'] + '/r.csv', 'w').write('a,b\\n1\\n')",
            {"file": "r.csv"},
            "not as many cells",
        ),
        ("report(status='fine')", {}, "the program returned status 'fine'"),
    ],
)
def test_metrics_that_can_be_no_row_fail_with_the_reason(
    programs: Programs, source: str, metrics: Any, complaint: str
) -> None:
    outcome = programs.one(programs.spec(source, command={"metrics": metrics}))
    assert (outcome.status, outcome.cause) == (Status.failed, Cause.error)
    assert complaint in str(outcome.error)


def test_a_declared_column_says_what_a_metric_is(programs: Programs) -> None:
    columns = {"tag": {"type": "text"}, "n": {"type": "int"}}
    pattern = {"metrics": {"pattern": r"(?P<tag>\w+) (?P<n>\S+)"}}
    good = programs.one(programs.spec("print('best 3.0')", columns=columns, command=pattern))
    assert dict(good.metrics) == {"tag": "best", "n": 3}
    bad = programs.one(programs.spec("print('best 3.5')", columns=columns, command=pattern))
    assert "its column is declared as int" in str(bad.error)


def test_a_goal_must_be_a_number_of_the_row(programs: Programs) -> None:
    goal = {"minimise": "loss"}
    assert "the goal loss is not among them" in str(programs.one(programs.spec("report(los=1)", goal=goal)).error)
    assert "is 'a', no number" in str(programs.one(programs.spec("report(loss='a')", goal=goal)).error)


def test_a_program_says_that_it_diverged(programs: Programs) -> None:
    outcome = programs.one(programs.spec("report(step=3, loss=1e9); report(status='diverged', error='loss is 1e9')"))
    assert (outcome.status, outcome.error, dict(outcome.metrics)) == (Status.diverged, "loss is 1e9", {"loss": 1e9})


@pytest.mark.parametrize(
    ("source", "cause", "complaint"),
    [
        ("print('before'); raise ValueError('no such data')", Cause.error, "exit code 1 after"),
        ("import sys; sys.exit(7)", Cause.error, "exit code 7 after"),
        ("import signal; os.kill(os.getpid(), signal.SIGSEGV)", Cause.error, "was ended by SIGSEGV"),
        ("import signal; os.kill(os.getpid(), signal.SIGTERM)", Cause.infra, "was ended by SIGTERM"),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", Cause.oom, "was ended by SIGKILL"),
        ("raise MemoryError", Cause.oom, "exit code 1 after"),
        ("import sys; sys.exit('torch.OutOfMemoryError: CUDA out of memory')", Cause.oom, "exit code 1"),
    ],
)
def test_how_a_program_ended_stands_in_the_row(programs: Programs, source: str, cause: Cause, complaint: str) -> None:
    outcome = programs.one(programs.spec(f"report(loss=1)\n{source}"))
    assert (outcome.status, outcome.cause, dict(outcome.metrics)) == (Status.failed, cause, {})
    assert complaint in str(outcome.error)


def test_the_end_of_what_was_printed_stands_in_the_row_and_all_of_it_in_the_folder(programs: Programs) -> None:
    outcome = programs.one(programs.spec("print('before'); raise ValueError('no such data')"))
    assert "ValueError: no such data" in str(outcome.error)
    assert f"the end of stdout (units/{outcome.key}/stdout.txt) ---\nbefore" in str(outcome.error)
    assert programs.file(outcome, "stdout.txt").read_text() == "before\n"
    assert "Traceback" in programs.file(outcome, "stderr.txt").read_text()


def test_output_without_bound_is_kept_bounded(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LONGEST", 1000)
    source = "for n in range(5000): print(f'line {n:06d}')\nreport(loss=1)"
    outcome = programs.one(programs.spec(source))
    text = programs.file(outcome, "stdout.txt").read_text()
    head, first, *_, last = text.splitlines()
    assert len(text) <= 2100 and last == "line 004999"
    left_out = int(head.split()[3].replace(",", ""))
    assert left_out + len(text) - len(head) - 1 == 5000 * 12, (head, first)


@pytest.mark.parametrize(
    ("run", "fields", "complaint"),
    [
        (["no-such-program", "{x}"], {}, "there is no program 'no-such-program'; looked in"),
        (["./no-such-program", "{x}"], {}, "there is no program"),
        (["./data.txt", "{x}"], {}, "is not executable: `chmod +x"),
        ([sys.executable, "no_script.py", "{x}"], {}, "there is no script"),
        (["{python}", "no_script.py", "{x}"], {"cwd": "{folder}"}, "there is no script"),
        (["true", "{x}"], {"cwd": "nowhere"}, "command.cwd: there is no folder"),
        (["true", "{x}", "{lr}"], {}, "there is no placeholder {lr}"),
        (["true", "{x}", "{sed}"], {}, "did you mean {seed}?"),
        (["true", "fixed"], {}, "{x} stands nowhere in the command"),
        (["true", "{x}", "{"], {}, "a single brace"),
        (["true", "{x:.3f}"], {}, "a single brace"),
        (["true", "{x}", "a\0b"], {}, "null byte"),
        ("true {x}", {}, "give the command as a list"),
        ([], {}, "at least 1 item"),
        (["true", "{x}"], {"env": {"API_KEY": "1"}}, "looks like a credential"),
        (["true", "{x}"], {"env": {"LANDSWEEP_DIR": "1"}}, "begins with LANDSWEEP_"),
        (["true", "{x}"], {"metrics": {"pattern": "("}}, "is no regular expression"),
        (["true", "{x}"], {"metrics": {"pattern": "loss (.*)"}}, "names no metric"),
        (["true", "{x}"], {"metrics": {"pattern": "(?P<seconds>.*)"}}, "columns of their own named ['seconds']"),
        (["true", "{x}"], {"metrics": {"file": "../r.json"}}, "must be inside of {dir}"),
        (["true", "{x}"], {"metrics": {"file": "r.txt"}}, "must end with .json"),
        (["true", "{x}"], {"metrics": {"tensorboard": "."}}, "pip install tensorboard"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_starts(
    programs: Programs, run: Any, fields: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if complaint.startswith("pip"):
        monkeypatch.setattr("landsweep.sweeps.lab.programs.sources.find_spec", lambda name: None)  # as if not installed
    (programs.folder / "data.txt").touch(0o644)
    assert complaint in programs.refused(lambda: programs.spec("", command={"run": run, **fields}))


def test_names_that_placeholders_have_can_be_no_axes(programs: Programs) -> None:
    assert "so no axis can have that name" in programs.refused(lambda: programs.spec("", "{dir}", axes={"dir": [1]}))


def test_how_long_a_program_may_take_is_no_part_of_what_it_computes(programs: Programs) -> None:
    one = programs.spec("", "{x}", command={"run": ["true", "{x}"]})
    other = programs.spec("", "{x}", command={"run": ["true", "{x}"], "timeout": 5, "grace": 1, "keep": "failed"})
    assert one.fingerprint() == other.fingerprint()
    changed = programs.spec("", "{x}", command={"run": ["true", "-v", "{x}"]})
    assert one.fingerprint() != changed.fingerprint()
