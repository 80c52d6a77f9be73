"""Drivers killed with SIGKILL at random moments, by kind: the rows and series of an undisturbed run.

A moment is counted in seconds from the end of the imports, so it is another one on each machine. Nothing depends on
it: a run that ends before its kill is compared, and a new one is begun in its place, until all kills were made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from landsweep import Zoo
from landsweep.orchestrator.commands.publish import write_report
from landsweep.orchestrator.kind import Workbench, kind_named
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example
from landsweep.sweeps.zoo.export import export_zoo
from tests.attack.amounts import attacks, chance, held
from tests.chaos.driver import spec_data
from tests.support.paths import ROOT
from tests.support.transfers import ADAPTIVE
from tests.support.transfers import transfer_spec as transfer_of
from tests.support.zoos import assert_same_zoos
from tests.support.zoos import zoo_spec as zoo_of

OFTEN = {"executor": "local", "commit_seconds": 0.05, "shard_seconds": 0.05}
REPORT = """
import sys
from landsweep.orchestrator.commands.publish import write_report
from landsweep.orchestrator.run.sweep import Sweep
print("begun", flush=True)
while True:
    write_report(Sweep.at(sys.argv[1]), sys.argv[1])
"""
EXPORT = """
import sys
from pathlib import Path
from landsweep import Zoo
from landsweep.sweeps.zoo.export import export_zoo
zoo, to, n = Zoo(sys.argv[1]), sys.argv[2], 0
print("begun", flush=True)
while True:
    export_zoo(zoo, Path(f"{to}-{n}"), per_model=True)
    n += 1
"""


def hill(x: float, seconds: float) -> dict[str, float]:
    time.sleep(seconds)
    return {"y": -((x - 0.5) ** 2)}


def once_broken(i: int, seconds: float, broken: str) -> dict[str, float]:
    """Half of the units fail for as long as a file is there."""
    if i % 2 and Path(broken).exists():
        raise ValueError("broken")
    time.sleep(seconds)
    return {"y": float(i)}


def search(trials: int, seconds: float) -> dict[str, Any]:
    return {
        "kind": "search",
        "name": "killed",
        "function": "tests.attack.test_killed:hill",
        "fixed": {"seconds": seconds},
        "space": {"x": {"uniform": [-2, 2]}},
        "goals": [{"maximise": "y"}],
        "sampler": {"method": "tpe", "n_startup_trials": 10},
        "generation": 6,
        "budget": {"units": trials},
    }


def zoo(models: int) -> dict[str, Any]:
    recipe = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [8]},
        "optimizer": {"method": "sgd", "momentum": 0.9},
        "steps": 2000,
        "batch_size": 32,
        "evaluate": {"every_steps": 500},
    }
    axes = {"optimizer.learning_rate": [0.05, 0.02]}
    return zoo_of(recipe=recipe, axes=axes, seeds={"range": models // 2}).model_dump(mode="json")


def scaling() -> dict[str, Any]:
    """The example, trained for longer: 17 trainings."""
    kind = kind_named("scaling")
    data = kind.example().model_dump(mode="json", exclude_defaults=True)
    budgets = {"budgets": {"values": [4e6, 1.2e7]}, "validation": {"budgets": {"values": [4e7]}}}
    return {**data, "kind": "scaling", **budgets}


def transfer() -> dict[str, Any]:
    return transfer_of(**ADAPTIVE, seeds=[0]).model_dump(mode="json")


def driver(folder: Path, **told: Any) -> subprocess.Popen[str]:
    """Once it has its imports."""
    words = [sys.executable, "-m", "tests.chaos.driver", str(folder), json.dumps(told)]
    return begun(words, folder.with_suffix(".log"))


def begun(words: Sequence[str], log: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as errors:
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n", log.read_text()
    return process


def finish(folder: Path, **told: Any) -> None:
    process = driver(folder, **told)
    process.communicate()
    assert process.returncode == 0, folder.with_suffix(".log").read_text()


def kill(process: subprocess.Popen[str], moment: float) -> bool:
    """Whether it lived until then."""
    time.sleep(moment)
    process.kill()
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def table(folder: Path) -> str:
    """A hash of all rows, but for meters, and of all series."""
    series = Ledger.open(Store.at(folder)).series().to_pylist()
    lines = sorted(json.dumps([s["key"], s["metric"], s["step"], s["value"]]) for s in series)
    return hashlib.sha256(json.dumps([metrics_of(folder), lines], sort_keys=True).encode()).hexdigest()


def whole(folder: Path) -> str:
    sweep = Sweep.at(folder)
    findings = sweep.verify(deep=True)
    assert findings.sound and not findings.missing and not findings.leftovers, findings
    return table(folder)


def killed(
    name: str, folder: Path, n: int, longest: float, fresh: Callable[[Path], object] | None = None, **told: Any
) -> tuple[Path, list[Path]]:
    """Compare runs that are killed `n` times with an undisturbed one; the folders of both.

    Args:
        name: of the row of the table.
        folder: for all results.
        n: kills.
        longest: seconds from the end of the imports to a kill.
        fresh: makes a folder in which a run begins; none: it begins without one.
        told: to the driver.
    """
    moments, kills, rounds = chance(name), 0, list[Path]()
    if fresh is not None:
        fresh(folder / "whole")
    finish(folder / "whole", **told)
    expected = whole(folder / "whole")
    while kills < n:
        rounds.append(folder / f"killed-{len(rounds)}")
        if fresh is not None:
            fresh(rounds[-1])
        alive = True
        while alive and kills < n:
            alive = kill(driver(rounds[-1], **told), moments.uniform(0, longest))
            kills += alive
        finish(rounds[-1], **told)
        assert whole(rounds[-1]) == expected
    held(name, kills, n)
    return folder / "whole", rounds


@attacks(None, full=30)
def test_a_function(tmp_path: Path, n: int) -> None:
    """At least 6 s of units, in thousands of commits, so that parts are merged in between."""
    killed("kills of a function", tmp_path, n, 5, spec=spec_data(6000, 0.001), site=OFTEN)


@attacks(None, full=12)
def test_a_search(tmp_path: Path, n: int) -> None:
    killed("kills of a search", tmp_path, n, 4, spec=search(60, 0.08), site=OFTEN)


@attacks(None, full=10)
def test_a_zoo_with_states(tmp_path: Path, n: int) -> None:
    """Its weights are those of the undisturbed run, too, none is left over, and five are evaluated again."""
    site = OFTEN | {"state_seconds": 0.2}
    undisturbed, rounds = killed("kills of a zoo", tmp_path, n, 5, spec=zoo(48), site=site)
    for folder in rounds:
        assert_same_zoos(folder, undisturbed)
        sweep = Sweep.at(folder)
        assert sweep.kind.audit(sweep.spec, sweep.rows(), Workbench(artifacts=Artifacts(str(folder))), 5) == []
        files = {Path(name).name for name in sweep.rows()["weights_file"]}
        assert {file.name for file in (folder / "weights").iterdir()} == files, "nothing staged, nothing left over"
        assert not list((folder / "states").glob("*.safetensors"))


@attacks(None, full=10)
def test_an_adaptive_transfer(tmp_path: Path, n: int) -> None:
    killed("kills of an adaptive transfer", tmp_path, n, 4, spec=transfer(), site=OFTEN)


@attacks(None, full=10)
def test_a_scaling_study(tmp_path: Path, n: int) -> None:
    killed("kills of a scaling study", tmp_path, n, 4, spec=scaling(), site=OFTEN)


@attacks(None, full=10)
def test_a_rerun(tmp_path: Path, n: int) -> None:
    """Of 150 failed units of 300, which take 3 s."""
    broken = tmp_path / "broken"
    fixed = {"seconds": 0.02, "broken": str(broken)}
    spec = spec_data(300, 0.0) | {"function": "tests.attack.test_killed:once_broken", "fixed": fixed}
    broken.touch()
    finish(tmp_path / "failed", spec=spec, site=OFTEN)
    broken.unlink()
    assert sum(r["status"] == "failed" for r in metrics_of(tmp_path / "failed").values()) == 150

    def fresh(folder: Path) -> None:
        shutil.copytree(tmp_path / "failed", folder)

    killed("kills of a rerun", tmp_path, n, 2.5, fresh, spec=spec, site=OFTEN, rerun=True)


@attacks(None, full=10)
def test_a_report(tmp_path: Path, n: int) -> None:
    """One that is written again and again, so that each kill meets it; the next one leaves what the first one did."""
    folder, moments = tmp_path / "sweep", chance("kills of a report")
    kind = kind_named("function")
    run_example(kind, parse(kind.spec, spec_data(30, 0.0), "test"), folder)
    write_report(Sweep.at(folder), str(folder))
    files, kills = sorted(folder.rglob("*")), 0
    for _ in range(n):
        kills += kill(begun([sys.executable, "-c", REPORT, str(folder)], tmp_path / "log"), moments.uniform(0, 2))
        write_report(Sweep.at(folder), str(folder))
        assert sorted(folder.rglob("*")) == files
    held("kills of a report", kills, n)


@attacks(None, full=10)
def test_an_export_of_a_zoo(tmp_path: Path, n: int) -> None:
    """Exports are made one after another, so each kill meets one: it is whole or no zoo, and made again it is whole."""
    folder, moments, kills = tmp_path / "zoo", chance("kills of an export"), 0
    finish(folder, spec=zoo_of().model_dump(mode="json"), site=OFTEN)
    export_zoo(Zoo(folder), tmp_path / "whole", per_model=True)
    files = contents(tmp_path / "whole")
    for i in range(n):
        to = tmp_path / f"killed-{i}"
        kills += kill(
            begun([sys.executable, "-c", EXPORT, str(folder), str(to)], tmp_path / "log"), moments.uniform(0, 2)
        )
        exports = sorted(tmp_path.glob(f"killed-{i}-*"))
        for export in exports:
            if (export / "sweep.json").exists():
                assert contents(export) == files
            else:
                export_zoo(Zoo(folder), export, per_model=True)
                assert contents(export) == files
    held("kills of an export of a zoo", kills, n)


def contents(folder: Path) -> dict[str, object]:
    """All files; of pictures and of the page, which shows when it was made, only that they are there."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): content(path) for path in files}


def content(path: Path) -> object:
    """Of weights their tensors and notes: the library writes the notes in any order."""
    if path.suffix != ".safetensors":
        return path.read_bytes() if path.suffix in (".json", ".parquet") else b""
    with safe_open(path, "np") as file:
        return file.metadata(), {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
