"""A run that ends although units are left, because the site says so; the same command goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site, parse_site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of
from tests.support.cli import command, write_spec

KIND = kind_named("function")
COLUMNS = {"square": {"doc": "i squared"}, "name": {"doc": "of the number", "type": "text"}}


def work(i: int) -> dict[str, Any]:
    """Fails at 3, 6, 9, ...."""
    if i and i % 3 == 0:
        raise RuntimeError(f"{i} can't be computed")
    return {"square": float(i * i), "name": f"n{i}"}


def run(folder: Path, end_when: dict[str, Any], *, declared: bool = True) -> tuple[Snapshot, QuietWatch]:
    spec = parse(
        KIND.spec,
        {
            "kind": "function",
            "name": "t",
            "function": f"{__name__}:work",
            "axes": {"i": {"range": 20}},
            "columns": COLUMNS if declared else None,
        },
        "test",
    )
    site = Site.model_validate(
        {"executor": "local", "tracking": False, "shard_seconds": 1e-9, "commit_rows": 1, "end_when": end_when}
    )
    watch = QuietWatch()
    return run_sweep(KIND, spec, site, folder, folder=Path.cwd(), watch=watch), watch


def values(folder: Path) -> list[int]:
    return sorted(row["i"] for row in metrics_of(folder).values())


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("rule", "last"), [("square > 50", 8), ("square > 50 and i >= 10", 10), ("name == n7", 7), ("i == 4", 4)]
)
def test_a_run_ends_at_the_first_row_that_meets_the_rule(
    tmp_path: Path, rule: str, last: int, *, declared: bool
) -> None:
    end, watch = run(tmp_path, {"row": rule}, declared=declared)
    assert end.phase == "stopped" and values(tmp_path) == list(range(last + 1))
    assert any("ended early: unit " in line and f"meets end_when.row, {rule!r}" in line for line in watch.said)


def test_a_failed_unit_meets_no_rule(tmp_path: Path) -> None:
    end, _ = run(tmp_path, {"row": "i == 3"})
    assert end.phase == "done" and len(values(tmp_path)) == 20


def test_so_many_failures_end_a_run_and_those_of_the_next_are_counted_anew(tmp_path: Path) -> None:
    assert run(tmp_path, {"failed": 2})[0].phase == "stopped"
    assert values(tmp_path) == list(range(7))
    assert run(tmp_path, {"failed": 2})[0].phase == "stopped"
    assert values(tmp_path) == list(range(13))
    assert run(tmp_path, {"failed": 3})[0].phase == "done"
    assert values(tmp_path) == list(range(20)) and Sweep.at(tmp_path).verify().sound


def test_time_ends_a_run(tmp_path: Path) -> None:
    end, watch = run(tmp_path, {"seconds": 1e-9})
    assert end.phase == "stopped" and end.done < 20
    assert any("as end_when.seconds says" in line for line in watch.said)


def test_a_run_that_is_complete_is_done(tmp_path: Path) -> None:
    assert run(tmp_path, {"row": "i == 19"})[0].phase == "done"


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("square", "can't be read"),
        ("square top 5", "each row is looked at by itself"),
        ("cube > 5", "there is no column 'cube'"),
        ("square > large", "'large' is no number"),
        ("name > a", "only == and != compare text"),
    ],
)
def test_a_bad_rule_is_refused_before_anything_is_written(tmp_path: Path, rule: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        run(tmp_path / "out", {"row": rule})
    assert not (tmp_path / "out").exists()


def test_a_column_that_no_row_has_ends_the_run_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no column 'cube'"):
        run(tmp_path, {"row": "cube > 5"}, declared=False)


@pytest.mark.parametrize("given", [{"failed": 0}, {"seconds": -1}, {"row": ""}, {"rows": "i > 1"}])
def test_bad_fields_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="end_when"):
        parse_site({"end_when": given}, "test")


def test_the_command_says_it_and_makes_the_report(tmp_path: Path) -> None:
    write_spec(
        tmp_path,
        {
            "kind": "function",
            "name": "t",
            "function": "landsweep.sweeps.function.examples:descend",
            "fixed": {"function": "himmelblau", "steps": 5, "lr": 0.001},
            "axes": {"start": {"range": 40}},
        },
    )
    words = ["run", "spec.yaml", "--site", "local", "site.tracking=off", "site.shard_seconds=1e-9"]
    first = command(*words, "site.end_when.row=start == 5", cwd=tmp_path)
    assert first.returncode == 0
    assert "ended early: unit " in first.stderr and "6 of 40 units have rows" in first.stderr
    assert "go on with: landsweep run spec.yaml" in first.stderr
    assert (tmp_path / "results/t/report/index.html").is_file()
    status = command("status", "results/t", cwd=tmp_path).stdout
    assert "stopped, 6/40 units (6 ok); ended early: unit " in status
