"""Zoos give the rows that were written: none that were changed by hand, of another sweep, or taken out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.seal import seal, unseal
from tests.attack.folders import ZOO, command, ran


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = {**ZOO["recipe"], "checkpoints": {"last": True}, "evaluate": {"every_epochs": 1}}  # type: ignore[dict-item]
    return ran(tmp_path_factory.mktemp("zoo"), {**ZOO, "recipe": recipe})


@pytest.fixture
def zoo(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "zoo"))


def rows_of(zoo: Path) -> tuple[Path, pa.Table, dict[str, str]]:
    (file,) = (zoo / "rows").glob("*.parquet")
    return file, *unseal(file.read_bytes())


def edited(zoo: Path) -> None:
    """Rows with a better loss, as pandas would write them."""
    file, table, _ = rows_of(zoo)
    place = next(i for i, name in enumerate(table.column_names) if name.endswith("_loss"))
    pq.write_table(table.set_column(place, table.column_names[place], [[0.0] * table.num_rows]), file)


def foreign(zoo: Path) -> None:
    """Models of another sweep, in a part of their own."""
    _, table, about = rows_of(zoo)
    part = {**json.loads(about["landsweep.part"]), "sweep": "f" * 40, "series": None}
    keys = pa.array([f"{n:032x}" for n in range(table.num_rows)])
    table = table.set_column(table.column_names.index("key"), "key", keys)
    (zoo / "rows" / "part-000077.parquet").write_bytes(seal(table, {"landsweep.part": json.dumps(part)}))


def beside(zoo: Path) -> None:
    """A plain table, as exported zoos have it."""
    _, table, _ = rows_of(zoo)
    pq.write_table(table, zoo / "rows" / "models.parquet")


def other_series(zoo: Path) -> None:
    """A loss curve that nobody has measured."""
    (file,) = (zoo / "series").glob("*.parquet")
    table = pq.read_table(file)
    pq.write_table(table.set_column(3, "value", [[0.0] * table.num_rows]), file)


@pytest.mark.parametrize("harm", [edited, foreign, beside, other_series])
def test_rows_that_are_not_those_of_the_sweep_are_refused(
    zoo: Path, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    assert len(Zoo(zoo).rows) == 2 and len(Zoo(zoo).series())
    harm(zoo)
    with pytest.raises(UsageError, match=r"rerun .* --status damaged"):
        Zoo(zoo)
    for words in (["zoo-card", zoo], ["zoo-export", zoo, "--to", tmp_path / "to"]):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 2 and "damaged" in done.stderr, done
    done = command("verify", zoo, "--reevaluate", "2", "--trust", cwd=tmp_path)
    assert done.returncode == 1 and "damaged:" in done.stdout, "this one says more"


def test_a_damaged_part_can_be_moved_away(zoo: Path) -> None:
    foreign(zoo)
    (zoo / "rows" / "part-000077.parquet").unlink()
    assert len(Zoo(zoo).rows) == 2


def test_rows_that_were_taken_out_are_not_read_again_after_a_kill(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Zoo(zoo).rows["key"][0]
    with Ledger.open(Store.at(zoo)).writing() as writer:
        monkeypatch.setattr(writer, "_drop", lambda parts: None)  # the driver dies before it deletes what is replaced
        monkeypatch.setattr(writer, "_compact", lambda **more: None)
        assert writer.retire(pa.array([key])) == 1
    assert len(list((zoo / "rows").glob("part-*"))) == 2
    assert key not in set(Zoo(zoo).rows["key"]) and len(Zoo(zoo).rows) == 1
    assert key not in set(Zoo(zoo).series()["key"])


def test_an_exported_zoo_is_read_as_before(zoo: Path, tmp_path: Path) -> None:
    done = command("zoo-export", zoo, "--to", tmp_path / "to", cwd=tmp_path)
    assert done.returncode == 0, done
    assert Zoo(tmp_path / "to").rows["key"].tolist() == Zoo(zoo).rows["key"].tolist()
