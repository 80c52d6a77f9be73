"""Every registered kind passes the suite that ships with the package, and its example gives the golden rows.

To pin new numbers after a change that is meant: `python -m tests.conformance.test_kinds`, and say why in the commit.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from landsweep.orchestrator.kind import kinds
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import KindSuite, metrics_of, run_example, same
from landsweep.sweeps.command.kind import CommandKind
from landsweep.sweeps.function.kind import FunctionKind
from landsweep.sweeps.landscape.kind import LandscapeKind
from landsweep.sweeps.measure.kind import MeasureKind
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.search.kind import SearchKind
from landsweep.sweeps.transfer.kind import TransferKind
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import GOLDEN

TESTED = {"command", "function", "landscape", "measure", "scaling", "search", "transfer", "zoo"}


class TestCommand(KindSuite):
    kind = CommandKind()
    golden = GOLDEN / "command.json"


class TestFunction(KindSuite):
    kind = FunctionKind()
    golden = GOLDEN / "function.json"


class TestLandscape(KindSuite):
    kind = LandscapeKind()
    golden = GOLDEN / "landscape.json"
    golden_tolerance = 1e-4  # weights are trained, and processors differ in the last bits of a sum


class TestMeasure(KindSuite):
    kind = MeasureKind()
    golden = GOLDEN / "measure.json"
    golden_tolerance = 1e-4  # processors differ in the last bits of a sum


class TestZoo(KindSuite):
    kind = ZooKind()
    golden = GOLDEN / "zoo.json"
    golden_tolerance = 1e-4  # as above


class TestSearch(KindSuite):
    kind = SearchKind()
    golden = GOLDEN / "search.json"
    golden_tolerance = 1e-4  # as above
    golden_sample = 1.001 / 397  # of the test images


class TestScaling(KindSuite):
    kind = ScalingKind()
    golden = GOLDEN / "scaling.json"
    golden_tolerance = 1e-4  # as above


class TestTransfer(KindSuite):
    kind = TransferKind()
    golden = GOLDEN / "transfer.json"
    golden_tolerance = 1e-4  # as above


def test_no_registered_kind_is_left_out() -> None:
    assert set(kinds()) == TESTED


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("own_ray")
@pytest.mark.parametrize(("workers", "shard_seconds"), [(1, 1e-9), (2, 0.05), (3, 1e6)])
@pytest.mark.parametrize("name", sorted(TESTED))
def test_ray_gives_the_rows_of_this_process(name: str, workers: int, shard_seconds: float, tmp_path: Path) -> None:
    kind = kinds()[name]
    run_example(kind, kind.example(), tmp_path / "local")
    site = Site(workers=workers, cpus=0.5, shard_seconds=shard_seconds)
    run_example(kind, kind.example(), tmp_path / "ray", site)
    assert same(metrics_of(tmp_path / "ray"), metrics_of(tmp_path / "local"))


def write_golden() -> None:
    for name in sorted(TESTED):
        with tempfile.TemporaryDirectory() as folder:
            kind = kinds()[name]
            run_example(kind, kind.example(), Path(folder))
            text = json.dumps(metrics_of(Path(folder)), indent=1, sort_keys=True)
            (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
