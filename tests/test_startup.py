"""Which command imports which of the heavy libraries: they are most of what a short command costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landsweep.orchestrator.kind import kinds
from landsweep.orchestrator.summaries import summaries
from tests.support.installed import install
from tests.support.paths import GOLDEN, ROOT

HEAVY = [
    "torch",
    "sympy",
    "ray",
    "mlflow",
    "optuna",
    "scipy",
    "sklearn",
    "pandas",
    "matplotlib",
    "plotly",
    "pyarrow",
    "numpy",
]
TABLES = {"numpy", "pyarrow"}  # to read a ledger
SPECS = "sweeps/specs"
COMMANDS = {
    "--help": set(),
    "kinds": set(),
    "kinds function": TABLES,
    f"status {GOLDEN}/begun/zoo": TABLES,
    f"plan {SPECS}/function_minima.yaml": TABLES,
    f"plan {SPECS}/zoo_digits_hyper.yaml": TABLES | {"torch"},
    f"plan {SPECS}/landscape_1d.yaml": TABLES | {"torch"},
    f"plan {SPECS}/search_digits.yaml": TABLES | {"torch", "optuna"},
    f"plan {SPECS}/scaling_markov.yaml --no-calibrate": TABLES | {"torch", "scipy"},
}
SMALL = "plan small.yaml", "run small.yaml site.executor=local site.tracking=off"


def imported(words: str, folder: Path) -> set[str]:
    """The heavy libraries that a command has imported by its end."""
    code = (
        "import os, sys; import landsweep.orchestrator.commands.cli as cli\n"
        "def leave(code): print('imported', *sys.modules, flush=True); os._exit(code or 0)\n"
        "cli.leave = leave; cli.main()"
    )
    words_of = [word if not word.startswith(SPECS) else str(ROOT / word) for word in words.split()]
    done = subprocess.run([sys.executable, "-c", code, *words_of], capture_output=True, text=True, cwd=folder)
    last = done.stdout.splitlines()[-1].split()
    assert done.returncode == 0 and last[0] == "imported", done.stdout + done.stderr
    return {*HEAVY} & {*last}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_imports_only_what_it_needs(words: str, tmp_path: Path) -> None:
    assert imported(words, tmp_path) == COMMANDS[words]


def test_a_small_sweep_starts_neither_ray_nor_torch_and_is_planned_without_pandas(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("def half(x):\n    return {'y': x / 2}\n", encoding="utf-8")
    (tmp_path / "small.yaml").write_text("{kind: function, function: 'half:half', axes: {x: [1, 2, 3]}}", "utf-8")
    plan, run = SMALL
    assert imported(run, tmp_path) == TABLES | {"pandas", "matplotlib", "plotly"}
    assert imported(plan, tmp_path) == TABLES  # now there are rows whose times it averages


def test_the_web_page_answers_before_what_draws_is_imported() -> None:
    code = "import sys, landsweep.orchestrator.ui.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*HEAVY} & {*done.stdout.split()} == TABLES


def test_summaries_are_those_of_the_classes() -> None:
    assert summaries() == {name: kind.summary for name, kind in kinds().items()}


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        ("class Kind:\n    summary = 'plain ' 'text'\nraise RuntimeError", "plain text"),
        ("class Kind:\n    summary: str = 'annotated'\nraise RuntimeError", "annotated"),
        ("class Kind:\n    name, summary = 'k', 'of a tuple'", "of a tuple"),
        ("class Base:\n    summary = 'inherited'\nclass Kind(Base): pass", "inherited"),
        ("class Kind:\n    summary = ' '.join(['computed', 'text'])", "computed text"),
        ("class Kind:\n    summary = 'first'\n    summary = 'second'", "second"),
        ("class Kind:\n    summary = 'first'\nclass Kind:\n    summary = 'of the later class'", "of the later class"),
        ("class Kind:\n    summary = 'old'\nKind.summary = 'set later'", "set later"),
        (
            "def named(c):\n    c.summary = 'decorated'\n    return c\n@named\nclass Kind:\n    summary = 'x'",
            "decorated",
        ),
    ],
)
def test_a_summary_is_read_as_written_or_as_python_computes_it(
    body: str, summary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "other", body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_kind", raising=False)
    assert summaries()["other"] == summary
