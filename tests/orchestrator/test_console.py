"""The terminal shows what a stranger's folder holds, and obeys none of it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner

from landsweep.orchestrator.commands.display import LiveWatch, live_watch, state_text
from landsweep.orchestrator.console import Console
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.orchestrator.text import one_line, printable, shortened
from landsweep.sweeps.function.kind import FunctionKind
from tests.support.app import app

EVIL = (
    "\x1b]52;c;ZXZpbA==\x07",  # the clipboard
    "\x1b]0;title\x1b\\",
    "\x9b31m",  # CSI in one character
    "name\r\x1b[2K\x1b[1Asound",
    "a\u202egnp.exe\u2066",
    "\x08\x7f\x00\x85",
)
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    fields = {
        "name": "plain",
        "function": "landsweep.sweeps.function.examples:descend",
        "axes": {"start": [1], "lr": [0.01]},
    }
    run_example(FunctionKind(), FunctionKind.spec.model_validate({**fields, "fixed": {"steps": 3}}), folder)
    return folder


@pytest.mark.parametrize("evil", EVIL)
def test_no_command_hands_a_strangers_name_to_the_terminal(evil: str, sweep: Path, tmp_path: Path) -> None:
    head = json.loads((sweep / "sweep.json").read_text())
    named = {**head, "name": evil, "spec": {**head["spec"], "name": evil}, "host": evil, "git_commit": evil}
    (sweep / "sweep.json").write_text(json.dumps(named))
    status = json.loads((sweep / "status.json").read_text())
    (sweep / "status.json").write_text(json.dumps({**status, "phase": evil, "note": evil}))
    (sweep / "rows" / f"part-{one_line(evil)}.parquet".replace("/", "-")).write_bytes(b"torn")
    run = CliRunner()
    for command in ("status", "verify", "report", "zoo-card", "best", "jobs", "logs", "rerun", "kinds"):
        done = run.invoke(app, [command, str(sweep)])
        printed = done.output + str(done.exception or "")
        assert done.exit_code in (0, 1, 2), printed
        assert not OBEYED.search(done.output), (command, done.output)
    (sweep / "sweep.json").write_text(json.dumps(head))
    (sweep / "status.json").write_text(json.dumps(status))


@pytest.mark.parametrize("evil", EVIL)
def test_the_console_obeys_neither_texts_nor_tables_nor_json(evil: str) -> None:
    file = io.StringIO()
    console = Console(file=file, width=200)
    table = Table(evil)
    table.add_row(evil)
    console.print(evil, table, f"[bold]{one_line(evil)}[/]")
    console.print_json(json.dumps({"name": evil}))
    console.print("a:smile:b [1, 2]", markup=False)
    assert not OBEYED.search(file.getvalue())
    assert "a:smile:b [1, 2]" in file.getvalue()


def test_a_progress_line_takes_any_note() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    note = "\x1b]0;x\x07[/b][red]z\nforged: sound"
    with live_watch(console) as watch:
        assert isinstance(watch, LiveWatch)
        watch.show(Snapshot("preparing", 3, 0, 0, {}, 0.0, None, 1, 0.0, note))
        watch.say(note)
    assert "\\x1b]0;x\\x07[/b][red]z" in file.getvalue() and "\x1b]0;x" not in file.getvalue()


def test_a_name_is_one_line_whatever_it_holds() -> None:
    now = {"name": "zoo\nsound: all is right", "kind": "zoo\u2028x", "running": False}
    assert state_text(now).count("\n") == 0 and "\u2028" not in state_text(now)
    assert one_line("a\tb\nc") == "a\\tb\\nc"
    assert printable("a\n\tb") == "a\n\tb"
    assert printable("λ é 漢 \U0001f600") == "λ é 漢 \U0001f600"
    assert printable("\ud800") == "\\ud800"


def test_long_text_is_cut_in_its_middle() -> None:
    assert shortened("x" * 10**8, 100).startswith("x" * 60) and len(shortened("x" * 10**8, 100)) == 100
    assert shortened("short", 100) == "short"


def test_of_an_endless_error_the_middle_is_left_out() -> None:
    written = io.StringIO()
    Console(file=written).print_error(ValueError("x" * 10**6 + " the end"))
    assert len(written.getvalue()) < 21_000 and written.getvalue().endswith("the end\n")
