"""Files that rows name, series and prepared arrays, lost or changed: `verify` says so, and the sweep gets them back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landsweep import Zoo
from landsweep.orchestrator.commands.display import findings_text
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of, run_example
from landsweep.sweeps.lab.checkpoints.source import Stacked
from landsweep.sweeps.landscape.kind import LandscapeKind
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.damage import flip, swap

Harm = Callable[[Path], None]


@pytest.fixture(scope="module")
def zoo_as_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    run_example(ZooKind(), ZooKind().example(), folder)
    return folder


@pytest.fixture
def zoo(zoo_as_made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(zoo_as_made, tmp_path / "zoo"))


def weights(zoo: Path) -> list[Path]:
    return sorted((zoo / "weights").iterdir())


def assert_whole(folder: Path, as_made: Path) -> None:
    """All is proved, and rows and weights are those of the sweep that nobody has harmed."""
    found = Sweep.at(folder).verify(deep=True)
    assert found.sound and not found.missing and found.files == len(weights(as_made)), found
    assert metrics_of(folder) == metrics_of(as_made)
    here, there = Zoo(folder), Zoo(as_made)
    assert all((here[key].vector() == there[key].vector()).all() for key in there.keys)


@pytest.mark.parametrize("name", ["weights_file", "weights_slot", "weights_pack"])
def test_rows_that_do_not_say_where_their_weights_are(zoo: Path, name: str) -> None:
    row = Sweep.at(zoo).ledger.rows().to_pylist()[0]
    del row[name]
    with pytest.raises(UsageError, match=f"have no column {name}"):
        Stacked(Artifacts(str(zoo))).state(row, "last")


SEEN_AT_ONCE: dict[str, tuple[Harm, str]] = {
    "one removed": (lambda zoo: weights(zoo)[0].unlink(), "missing"),
    "all removed": (lambda zoo: shutil.rmtree(zoo / "weights"), "missing"),
    "cut off": (lambda zoo: weights(zoo)[0].write_bytes(weights(zoo)[0].read_bytes()[:-3]), "bytes instead of"),
    "cut within its header": (lambda zoo: weights(zoo)[0].write_bytes(weights(zoo)[0].read_bytes()[:90]), "cut off"),
    "emptied": (lambda zoo: weights(zoo)[1].write_bytes(b""), "cut off"),
    "longer": (lambda zoo: weights(zoo)[1].write_bytes(weights(zoo)[1].read_bytes() + b"more"), "bytes instead of"),
    "of another kind": (lambda zoo: weights(zoo)[1].write_bytes(b"PK" * 500), "does not begin as"),
}


@pytest.mark.parametrize("case", SEEN_AT_ONCE)
def test_lost_weights_are_noticed_and_the_next_run_trains_them_again(zoo: Path, zoo_as_made: Path, case: str) -> None:
    harm, reason = SEEN_AT_ONCE[case]
    harm(zoo)
    found = Sweep.at(zoo).verify()
    lost = [d for d in found.damaged if d.path.startswith("weights/")]
    assert lost and not found.sound and all(reason in d.reason for d in lost)
    assert lost[0].path in findings_text(found, "zoo") and "not sound" in findings_text(found, "zoo")
    end = run_example(ZooKind(), ZooKind().example(), zoo)
    rows = Zoo(zoo_as_made).rows
    assert (end.phase, end.new) == ("done", rows["weights_file"].isin([d.path for d in lost]).sum())
    assert_whole(zoo, zoo_as_made)


ONLY_DEEP: dict[str, Harm] = {
    "a byte flipped": lambda zoo: flip(weights(zoo)[0], -1),
    "a byte of the header flipped": lambda zoo: flip(weights(zoo)[0], weights(zoo)[0].read_bytes().index(b"shape")),
    "two swapped": lambda zoo: swap(*weights(zoo)[:2]),
}


@pytest.mark.parametrize("case", ONLY_DEEP)
def test_changed_bytes_are_found_by_reading_them_and_a_rerun_trains_these_again(
    zoo: Path, zoo_as_made: Path, case: str
) -> None:
    ONLY_DEEP[case](zoo)
    quick, deep = Sweep.at(zoo).verify(), Sweep.at(zoo).verify(deep=True)
    assert quick.sound and "--deep compares every byte" in findings_text(quick, "zoo"), (
        "it claims only what it has seen"
    )
    assert not deep.sound and "rerun zoo --status damaged" in findings_text(deep, "zoo")
    assert deep.units_affected and not quick.units_affected
    sweep, watch = Sweep.at(zoo), QuietWatch()
    end = run_sweep(sweep.kind, sweep.spec, Site(executor="local"), zoo, folder=sweep.folder, watch=watch)
    assert end.new == 0 and any("to compare their bytes" in line for line in watch.said), "it says so"
    end = run_sweep(sweep.kind, sweep.spec, Site(executor="local"), zoo, folder=sweep.folder, watch=watch, deep=True)
    assert (end.phase, end.new) == ("done", len(deep.units_affected))
    assert {f"damaged/{d.path.replace('/', '-')}" for d in deep.damaged} == {
        f"damaged/{p.name.rpartition('-')[0]}" for p in (zoo / "damaged").iterdir()
    }, "what was damaged is kept"
    assert_whole(zoo, zoo_as_made)


def test_rows_that_name_a_file_elsewhere_are_not_followed(zoo: Path) -> None:
    ledger = Sweep.at(zoo).ledger
    secret = zoo.parent / "secret.safetensors"
    shutil.copy(weights(zoo)[0], secret)
    table = ledger.rows()
    for name in ("../secret.safetensors", str(secret)):
        paths = [name] * table.num_rows
        changed = table.set_column(table.column_names.index("weights_file"), "weights_file", [paths])
        with Sweep.at(zoo).ledger.writing() as writer:
            writer.retire(table.column("key").combine_chunks())
        with Sweep.at(zoo).ledger.writing() as writer:
            writer.append(changed.to_batches()[0])
        assert [d.reason for d in Sweep.at(zoo).verify(deep=True).damaged] == ["the file is missing"]


def test_series_that_were_removed_are_computed_again(zoo: Path, zoo_as_made: Path) -> None:
    for file in (zoo / "series").iterdir():
        file.unlink()
    assert not Sweep.at(zoo).verify().sound
    run_example(ZooKind(), ZooKind().example(), zoo)
    assert_whole(zoo, zoo_as_made)


PREPARED: dict[str, tuple[Harm, str]] = {
    "arrays removed": (lambda file: file.unlink(), "missing"),
    "all removed": (lambda file: shutil.rmtree(file.parent), "missing"),
    "digest removed": (lambda file: file.with_suffix(".json").unlink(), "digest is missing"),
    "flipped": (lambda file: flip(file, -1), "checksum"),
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:-7]), "checksum"),
}


@pytest.mark.parametrize("case", PREPARED)
def test_lost_arrays_that_units_share_are_computed_again_though_no_unit_is_left(tmp_path: Path, case: str) -> None:
    kind: Any = LandscapeKind()
    run_example(kind, kind.example(), tmp_path)
    harm, reason = PREPARED[case]
    before = metrics_of(tmp_path)
    files = {p.name: p.read_bytes() for p in (tmp_path / "prepared").glob("*.safetensors")}
    harm(tmp_path / "prepared" / sorted(files)[0])
    damaged = Sweep.at(tmp_path).verify().damaged
    assert damaged and all(reason in d.reason for d in damaged)
    end = run_example(kind, kind.example(), tmp_path)
    assert (end.phase, end.new) == ("done", 0)
    assert Sweep.at(tmp_path).verify().sound
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "prepared").glob("*.safetensors")}
    assert metrics_of(tmp_path) == before


def test_a_sweep_that_has_not_begun_lacks_nothing(tmp_path: Path) -> None:
    """Prepared arrays that nobody has computed yet are not lost."""
    kind: Any = LandscapeKind()
    run_example(kind, kind.example(), tmp_path)
    sweep = Sweep.at(tmp_path)
    sweep.ledger.retire(sweep.keys()[:1])
    for folder in ("rows", "series", "prepared"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
    found = Sweep.at(tmp_path).verify()
    assert found.sound and {*found.missing} == {*sweep.keys()} and Store.at(tmp_path).list("prepared") == []
