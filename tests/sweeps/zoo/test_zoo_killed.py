"""Packs that are killed in the middle of training go on to the same bits, whatever the shards are then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from landsweep import Zoo
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Outcome
from landsweep.orchestrator.run.plan import planned
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.paths import ROOT
from tests.support.zoos import KIND, assert_same_zoos, long_zoo_spec, resumed_packs, train_zoo


def test_a_pack_killed_in_the_middle_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL while a pack trains, after its state was kept; the second run starts from that state."""
    code = (
        "import sys; from tests.support.zoos import long_zoo_spec, train_zoo; from pathlib import Path\n"
        "train_zoo(long_zoo_spec(), Path(sys.argv[1]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed" / "states").glob("*.index.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "the state was never kept"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "killed").glob("rows/*.parquet")), "killed before the first row"
    with resumed_packs() as went_on:
        train_zoo(long_zoo_spec(), tmp_path / "killed")
    train_zoo(long_zoo_spec(), tmp_path / "whole")
    assert went_on == [True], "the second run began from the state of the first"
    assert not list((tmp_path / "killed" / "states").glob("*.safetensors")), "states are dropped at the end"
    assert_same_zoos(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("net", ["mlp", "cnn"])
def test_a_pack_goes_on_in_parts_when_its_units_come_in_other_shards(tmp_path: Path, net: str) -> None:
    """A later run may cut shards elsewhere: each worker restores the whole pack and goes on with its own models."""
    nets = {"mlp": {"net": "mlp", "hidden": [8]}, "cnn": {"net": "cnn", "channels": [2, 2]}}
    spec = long_zoo_spec(net=nets[net], steps=600, seeds=4, backend={"mlp": "bmm", "cnn": "vmap"}[net])
    units = list(planned(KIND, spec))
    whole = [o for o in KIND.open(spec, {}, Workbench()).evaluate(units) if isinstance(o, Outcome)]
    bench = Workbench(artifacts=Artifacts(str(tmp_path)), state_seconds=0.0)
    for count, item in enumerate(KIND.open(spec, {}, bench).evaluate(units)):  # stopped there, as by a kill
        assert not isinstance(item, Outcome)
        if count >= 10 and list((tmp_path / "states").glob("*.index.safetensors")):
            break
    told: dict[str, int] = {}
    parts: list[Outcome] = []
    with resumed_packs() as went_on:
        for shard in (units[:1], units[1:]):
            for item in KIND.open(spec, {}, bench).evaluate(shard):
                if isinstance(item, Outcome):
                    parts.append(item)
                elif item is not None:
                    told[item.key] = told.get(item.key, 0) + 1
    assert went_on == [True, True]
    assert set(told) == {u.key for u in units} and len(set(told.values())) == 1, "all are told whole histories"
    for name in ("test_loss", "train_loss", "best_step", "steps_done"):
        assert [o.metrics[name] for o in parts] == [o.metrics[name] for o in whole]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_killed_while_packs_train_change_no_bit(tmp_path: Path) -> None:
    """Real Ray, SIGKILL to a worker once its pack has kept a state; the pack goes on, as it was, in another worker."""
    spec = long_zoo_spec(steps=6000, seeds=8)
    victims: list[int] = []

    class Killer(QuietWatch):
        def show(self, snapshot: Snapshot) -> None:
            if not victims and list((tmp_path / "killed" / "states").glob("*.index.safetensors")):
                victims.extend(p.pid for p in psutil.Process().children(recursive=True) if "Actor" in p.name())
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)

    site = Site(workers=2, cpus=0.5, state_seconds=0.0, tracking=False)
    run_sweep(KIND, spec, site, tmp_path / "killed", folder=ROOT, watch=Killer())
    assert victims, "nobody was killed"
    train_zoo(spec, tmp_path / "whole")
    killed = Zoo(tmp_path / "killed")
    assert set(killed.rows["pack_size"]) == {4}, "a pack comes back as it was"
    assert 2 in set(killed.rows["attempt"])
    assert_same_zoos(tmp_path / "killed", tmp_path / "whole")
