"""The drill's verdict can be good and can be bad; the drill itself, small, and the soak, large."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from landsweep import Zoo
from landsweep.cluster.drill.drill import Drill, drill_spec, places_to_die
from landsweep.cluster.drill.outcome import DrillOutcome
from landsweep.cluster.drill.training import RECORD, TrainingOutcome, training_spec
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.orchestrator.testing.mortality import FOLDER
from tests.cluster.raycluster import RayCluster
from tests.cluster.slurm import LocalSlurm
from tests.support.cli import command

UNITS = 40
_TEST = "PYTEST_CURRENT_TEST"  # in the environment of all that a test starts


@pytest.fixture
def outcome(tmp_path: Path) -> DrillOutcome:
    """A drill in which one worker is said to have died, in this process."""
    drill = Drill(None, [], str(tmp_path / "drill"), seconds=0.02, units=UNITS, life=1e9)
    kind = kind_named("function")
    site = Site(executor="local", commit_rows=5, commit_seconds=1e-3)
    run_example(kind, parse(kind.spec, drill_spec(drill, 2), "drill"), drill.out, site)
    found = DrillOutcome(Store.at(drill.out), UNITS, 0.001)
    found.store.create(f"{FOLDER}/a.json", json.dumps({"what": "worker"}).encode())
    return found


def failing(outcome: DrillOutcome) -> list[str]:
    return [check.what for check in outcome.checks() if not check.ok]


def test_a_good_end_is_called_good(outcome: DrillOutcome) -> None:
    assert failing(outcome) == []


def test_what_is_wrong_is_called_wrong(outcome: DrillOutcome) -> None:
    outcome.lost, outcome.not_returned = 3, "process 7"
    assert failing(outcome) == ["nothing lost", "resources returned"]


def test_a_drill_in_which_nobody_died_proves_nothing(outcome: DrillOutcome) -> None:
    outcome.store.delete(f"{FOLDER}/a.json")
    assert failing(outcome) == ["somebody died"]


def test_a_missing_row_and_a_damaged_file_are_seen(outcome: DrillOutcome) -> None:
    ledger = Ledger.open(outcome.store)
    ledger.retire([ledger.rows(["key"]).column("key").to_pylist()[0]])
    assert failing(outcome) == ["each unit once", "results right"]
    name, _ = outcome.store.list("rows")[0]
    data = bytearray(outcome.store.read(f"rows/{name}"))
    data[len(data) // 2] ^= 1
    outcome.store.replace(f"rows/{name}", data)
    assert failing(outcome) == ["each unit once", "results right", "files sound"]


def test_results_that_a_worker_does_not_see_are_said(outcome: DrillOutcome, tmp_path: Path) -> None:
    kind, drill = kind_named("function"), Drill(None, [], str(tmp_path / "blind"), 0.02, UNITS, 1e9)
    spec = drill_spec(drill, 2)
    spec["fixed"]["results"] = str(tmp_path / "elsewhere")
    run_example(kind, parse(kind.spec, spec, "drill"), drill.out, Site(executor="local"))
    blind = DrillOutcome(Store.at(drill.out), UNITS, 0.001)
    assert "results seen by all nodes" in failing(blind)


def test_each_death_of_the_driver_has_a_unit_of_its_own() -> None:
    for seed in range(50):
        places = places_to_die(random.Random(seed), 50, 30)
        assert places == sorted(set(places)) and len(places) == 30 and 5 <= places[0] <= places[-1] < 43
    with pytest.raises(UsageError, match="at most 3 deaths"):
        places_to_die(random.Random(0), 4, 4)


def test_a_folder_with_a_sweep_is_refused_and_so_is_a_site_without_workers(
    outcome: DrillOutcome, tmp_path: Path
) -> None:
    assert "results of its own" in command("drill", "--out", "drill", cwd=tmp_path, check=2).stderr
    assert "workers that can die" in command("drill", "--site", "local", cwd=tmp_path, check=2).stderr
    assert "start-timeout" not in command("drill", "site.wrokers=2", cwd=tmp_path, check=2).stderr


def drill(tmp_path: Path, *words: str, workers: object = 2, timeout: float = 1800) -> dict[str, Any]:
    done = command("drill", *words, "--json", f"site.workers={workers}", cwd=tmp_path, check=None, timeout=timeout)
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["survived"] and done.returncode == 0, done.stdout + done.stderr
    print(done.stdout, done.stderr)
    return told


def started_by_this_test() -> list[str]:
    """Processes that have inherited the name of this test, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_TEST) == os.environ[_TEST] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a training whose process, the driver too, ended by SIGKILL in the middle; the same command went on."""
    place = tmp_path_factory.mktemp("training")
    spec = training_spec(str(place / "drill"), 9, 1, random.Random(0))
    (place / "drill.yaml").write_text(json.dumps(spec))
    words = ["run", "drill.yaml", "--out", "drill", "site.executor=local", "site.state_seconds=1", "site.tracking=off"]
    assert command(*words, cwd=place, check=None).returncode == -signal.SIGKILL
    command(*words, cwd=place, check=0)
    return place / "drill"


def test_a_long_training_loses_no_more_than_the_time_between_two_states(trained: Path) -> None:
    outcome = TrainingOutcome(Store.at(str(trained)), 1, 9, state_seconds=1)
    outcome.processes.clear()
    assert failing(outcome) == []
    (lost,) = [check for check in outcome.checks() if check.what == "steps lost"]
    record = json.loads((trained / RECORD).read_text())
    (row,) = Zoo(trained).rows.to_dict("records")
    assert 0 < row["resumed_at"] <= record["steps"] < row["steps_done"] == 900
    assert lost.detail.startswith(f"{record['steps'] - row['resumed_at']:,.0f} of {record['steps']:,}")
    assert int(Zoo(trained)[0].state()["steps"]) == 900, "each step is in the model once"


def test_what_a_training_lost_too_much_is_called_wrong(trained: Path) -> None:
    outcome = TrainingOutcome(Store.at(str(trained)), 1, 9, state_seconds=-100.0)  # even none
    assert failing(outcome) == ["steps lost"]
    assert failing(TrainingOutcome(Store.at(str(trained)), 1, 10, state_seconds=1)) == ["all steps made"]


def test_a_training_must_be_longer_than_the_time_between_two_states(tmp_path: Path) -> None:
    said = command("drill", "--training", "--seconds", "60", "site.workers=1", cwd=tmp_path, check=2).stderr
    assert "take at least 180, or a shorter site.state_seconds" in " ".join(said.split())


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_drill_of_a_training_kills_its_worker(tmp_path: Path) -> None:
    told = drill(tmp_path, "--training", "--seconds=20", "site.state_seconds=2", "--out=there", workers=1)
    (lost,) = [check for check in told["checks"] if check["what"] == "steps lost"]
    assert told["deaths"] == {"worker": 1} and lost["ok"] is True


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.filterwarnings("default")
def test_a_drill_on_a_cluster_of_others_may_take_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nodes: one that is not the head falls, the driver too, and the cluster is given back as it was."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        options = ["--seconds", "15", "--life", "6", "--drivers", "1", "--allow-node"]
        told = drill(tmp_path, *options, f"site.address={cluster.address}", workers="auto")
    finally:
        cluster.shutdown()
    assert told["deaths"]["node"] == 1 and told["deaths"]["driver"] == 1


@pytest.mark.slurm
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.chaos
def test_a_drill_through_slurm_kills_the_driver_from_inside_and_a_node(slurm: LocalSlurm, tmp_path: Path) -> None:
    section = {"type": "slurm", "nodes": 2, "cpus_per_node": 1, "time": "20"}
    (tmp_path / "slurm.yaml").write_text(json.dumps({"shard_seconds": 1, "launcher": section}))
    options = ["--site", "slurm.yaml", "--seconds", "40", "--life", "15", "--drivers", "1", "--allow-node"]
    told = drill(tmp_path, *options, workers="auto")
    assert told["deaths"]["driver"] == 1 and told["deaths"].get("worker", 0) > 0
    slurm.wait_idle()
    assert not slurm.left_over()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_drill_as_ray_jobs_submits_again_when_the_driver_dies(
    dashboard: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard.admit(monkeypatch)
    section = {"type": "rayjobs", "address": dashboard.url, "shared": True, "python": sys.executable}
    (tmp_path / "rayjobs.yaml").write_text(json.dumps({"shard_seconds": 1, "launcher": section}))
    refused = command("drill", "--site", "rayjobs.yaml", cwd=tmp_path, check=2)
    assert "site.workers: give how many workers" in refused.stderr
    told = drill(tmp_path, "--site", "rayjobs.yaml", "--seconds", "20", "--drivers", "1", "--out", "there")
    assert told["deaths"]["driver"] == 1
    assert len(list((tmp_path / "there/jobs").iterdir())) == 2


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("units", "seconds", "life", "drivers", "deaths"), [(1_500, 60, 8, 1, 5), (20_000, 600, 10, 6, 50)]
)
def test_soak(tmp_path: Path, units: int, seconds: int, life: int, drivers: int, deaths: int) -> None:
    """Units for a minute and for ten of work on two workers, a death every few seconds; at the end `verify`."""
    options = [f"--seconds={seconds}", f"--units={units}", f"--life={life}", f"--drivers={drivers}", "--out=soak"]
    told = drill(tmp_path, *options, timeout=600 + 8 * seconds)  # a machine that has other things to do
    assert told["deaths"]["driver"] == drivers and sum(told["deaths"].values()) > deaths
    verified = command("verify", "soak", "--json", cwd=tmp_path)
    findings = json.loads(verified.stdout)
    assert (findings["rows"], findings["by_status"], findings["duplicates"]) == (units, {"ok": units}, [])
    assert not started_by_this_test(), "nothing is left running"
