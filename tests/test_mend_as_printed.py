"""`landsweep verify --deep` finds changed bytes, ends with code 1, and prints the command that computes them again."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example, same
from tests.support import searches, studies, transfers, zoos
from tests.support.app import app
from tests.support.damage import flip

SEARCH: dict[str, Any] = {
    "recipe": {**searches.TINY_RECIPE, "checkpoints": {"last": True}},
    "space": searches.RATE,
    "sampler": {"method": "tpe", "n_startup_trials": 4},
    "generation": 4,
    "budget": {"units": 8},
    "backend": "bmm",
}


def specs() -> dict[str, Any]:
    arms = {"mup": transfers.KIND.example().recipes["mup"]}
    kept = transfers.transfer_recipe(checkpoints={"last": True})
    return {
        "zoo": kind_named("zoo").example(),
        "branches": zoos.branched_zoo_spec(seeds={"range": 1}),
        "search": searches.search_spec(**SEARCH),
        "transfer": transfers.transfer_spec(**{**transfers.ADAPTIVE, "seeds": [0], "recipes": arms, "recipe": kept}),
        "scaling": studies.branched_study(),
        "landscape": kind_named("landscape").example(),
    }


@pytest.fixture(scope="module")
def as_made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Results of a kind, computed once."""
    base = tmp_path_factory.mktemp("sweeps")

    def folder(kind: str) -> Path:
        if not (base / kind).exists():
            spec = specs()[kind]
            run_example(kind_named(spec.kind), spec, base / kind)
        return base / kind

    return folder


def told(*words: str, code: int) -> str:
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == code, done.output
    return done.output


ALL = {
    "zoo": ("weights", "series", "rows"),
    "branches": ("points",),
    "search": ("weights", "series", "rows"),
    "transfer": ("weights", "series", "rows"),
    "scaling": ("weights", "series", "rows", "points"),
    "landscape": ("prepared", "rows"),
}
FAST = {("zoo", "weights"), ("zoo", "series"), ("branches", "points"), ("search", "weights"), ("search", "rows")}
CASES = [
    pytest.param(kind, what, marks=() if (kind, what) in FAST else pytest.mark.slow)
    for kind, folders in ALL.items()
    for what in folders
]


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_the_printed_command_mends_what_was_found(
    as_made: Callable[[str], Path], tmp_path: Path, kind: str, what: str
) -> None:
    made = as_made(kind)
    where = Path(shutil.copytree(made, tmp_path / "a copy"))
    file = min(f for f in (where / what).iterdir() if f.suffix != ".json")
    flip(file, file.stat().st_size // 2 if what in ("series", "rows") else -1)
    report = told("verify", str(where), "--deep", code=1)
    line = report.strip().splitlines()[-1].strip()
    findings = json.loads(told("verify", str(where), "--deep", "--json", code=1))
    assert findings["mend"] == line and f"{what}/{file.name}" in {d["path"] for d in findings["damaged"]}
    program, *words = shlex.split(line)
    assert program == "landsweep"
    told(*words, "site.executor=local", "site.tracking=off", code=0)
    assert "sound:" in told("verify", str(where), "--deep", code=0)
    assert same(metrics_of(where), metrics_of(made))
    assert list((where / "damaged").iterdir()), "what was damaged is kept"
    assert json.loads(told("verify", str(where), "--json", code=0))["mend"] is None
