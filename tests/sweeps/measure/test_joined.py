"""Measures joined to the rows of the zoo that was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from tests.support.measures import measure_spec, measured, small_zoo


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of four models; the losses of three at two checkpoints, their ways, and the distances of all pairs."""
    folder = tmp_path_factory.mktemp("home")
    small_zoo(folder / "zoo")
    of = [{"sweep": "zoo", "where": "test_loss bottom 3", "checkpoints": ["step-000020", "last"]}]
    measures = {"fit": {"measure": "losses", "evaluator": "test"}, "way": {"measure": "distance_from_start"}}
    measured(measure_spec(folder, of=of, subjects=["each", "along"], measures=measures), folder, "measures")
    pairs = {"subjects": {"choose": "pairs", "over": "seed"}, "measures": {"far": {"measure": "distance"}}}
    measured(measure_spec(folder, **pairs), folder, "pairs")
    return folder


def test_values_stand_beside_the_models_that_they_are_of(home: Path) -> None:
    zoo = Zoo(home / "zoo")
    joined = zoo.with_measures(home / "measures")
    assert list(joined.rows["key"]) == list(zoo.rows["key"]) and joined.keys == zoo.keys
    rows = joined.rows[joined.rows["fit.loss"].notna()]
    assert len(rows) == 3
    assert list(rows["fit.loss"]) == pytest.approx(list(rows["test_loss"]), rel=1e-5)
    for row in rows.to_dict("records"):
        a, b = (zoo[row["key"]].vector(label).double() for label in ("step-000020", "last"))
        assert row["way.start_distance"] == pytest.approx(float((b - a).norm()), rel=1e-5)
    x, y = joined.select(joined.rows["fit.loss"].notna()).dataset("fit.loss")[0]
    assert len(x) == zoo[0].vector().numel() and y == pytest.approx(rows["fit.loss"].iloc[0])


def test_values_of_another_checkpoint(home: Path) -> None:
    early = Zoo(home / "zoo").with_measures(home / "measures", label="step-000020").rows["fit.loss"]
    late = Zoo(home / "zoo").with_measures(home / "measures").rows["fit.loss"]
    assert np.array_equal(early.notna(), late.notna()) and (early.dropna() > late.dropna()).all()


@pytest.mark.parametrize(
    ("where", "label", "words"),
    [
        ("zoo", "last", "holds a sweep of the kind 'zoo', not of measures"),
        ("pairs", "last", "no value of a single model"),
        ("measures", "best", "no values of checkpoints 'best'; it has step-000020, last"),
    ],
)
def test_what_can_not_be_joined_is_refused(home: Path, where: str, label: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Zoo(home / "zoo").with_measures(home / where, label=label)


def test_a_sweep_is_joined_once_and_to_its_own_zoo(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a column 'fit\.\w+' already"):
        Zoo(home / "zoo").with_measures(home / "measures").with_measures(home / "measures")
    small_zoo(tmp_path / "zoo", seeds=1, rates=(0.07,))
    with pytest.raises(UsageError, match="no value of a single model, or of a run, of this zoo"):
        Zoo(tmp_path / "zoo").with_measures(home / "measures")
