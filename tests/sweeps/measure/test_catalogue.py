"""What holds of every measure."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.measure.measures import Measure, MeasureSpec
from landsweep.sweeps.measure.measures.own import OwnMeasure
from landsweep.sweeps.measure.subject import Subject
from tests.support.paths import ROOT
from tests.support.subjects import run_of, samples_of, subject_of

MEASURES: tuple[type[Measure], ...] = get_args(get_args(MeasureSpec)[0])


def measure_of(kind: type[Measure]) -> Measure:
    """With the fields' defaults."""
    return kind.model_validate({"measure": kind.__module__.rpartition(".")[2]})


def test_columns_are_unique_and_each_measure_is_the_name_of_its_file() -> None:
    measures = [measure_of(kind) for kind in MEASURES if kind is not OwnMeasure]  # whose columns are the user's
    names = [column.name for measure in measures for column in measure.columns()]
    assert len(set(names)) == len(names)
    assert all(measure.__doc__ and all(c.doc for c in measure.columns()) for measure in measures)


@pytest.mark.parametrize("kind", MEASURES)
def test_the_pages_list_each_measure(kind: type[Measure]) -> None:
    pages = [ROOT / "docs" / name for name in ("measure.md", "measures-curvature.md", "connectivity.md")]
    name = kind.__module__.rpartition(".")[2]
    assert any(f"`{name}`" in page.read_text(encoding="utf-8") for page in pages)


SEQUENCES = samples_of(torch.zeros(8, 4, dtype=torch.int64), torch.zeros(8, 4, dtype=torch.int64))
NUMBERS = samples_of(torch.zeros(8, 2), torch.zeros(8, 3), "mse")
FEW = samples_of(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("measure", "subject", "words"),
    [
        ("class_losses", subject_of(nn.Linear(2, 3), samples=SEQUENCES), "sequences"),
        ("class_losses", subject_of(nn.Linear(2, 3), samples=NUMBERS), "not classes"),
        ("calibration", subject_of(nn.Linear(2, 3), samples=NUMBERS), "not classes"),
        ("disagreement", subject_of(nn.Linear(2, 3), nn.Linear(2, 3), samples=NUMBERS), "not classes"),
        ("input_derivatives", subject_of(nn.Linear(2, 3), samples=SEQUENCES), "tokens"),
        ("effective_dimension", subject_of(nn.Linear(2, 3), samples=FEW), "must be above 1"),
        ("cka", subject_of(nn.Linear(2, 3), nn.Linear(2, 3), samples=FEW), "4 samples or more"),
        ("distance_from_start", run_of({0: nn.Linear(2, 3)}), "two or more"),
        ("layer_rotation", subject_of(nn.Linear(2, 3), nn.Linear(2, 3)), "checkpoints of one model"),
        ("spectra_alignment", run_of({5: nn.Linear(2, 3), 2: nn.Linear(2, 3)}), "known and rising steps"),
    ],
)
def test_what_is_not_defined_is_refused_before_anything_is_computed(measure: str, subject: Subject, words: str) -> None:
    (kind,) = [m for m in MEASURES if m.__module__.rpartition(".")[2] == measure]
    with pytest.raises(SpecError, match=words):
        measure_of(kind).check(subject)
