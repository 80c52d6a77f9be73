"""What the report of a study says beside its numbers: theory, misfit, and best sizes at the end of a family."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from landsweep.sweeps.scaling.kind import ScalingSpec
from landsweep.sweeps.scaling.report import study_report
from tests.support.studies import feature_study, rows_of_the_law, wide_study


def told(spec: ScalingSpec, rows: pd.DataFrame) -> str:
    return str(study_report(spec, rows, pd.DataFrame()).sections)


@pytest.mark.parametrize(
    ("alpha", "beta", "wanted"),
    [
        (0.75, 1.2, "'beta: the noise of the gradient over D', '1.333'"),  # phase III: learned is 1.9333
        (1.0, 1.5, "'beta: the noise of the gradient over D', '1.5'"),  # phase III: learned is 2
        (1.0, 0.3, "'beta: what is not yet learned over D', '0.8'"),  # phase Ia: noise is 1.5
        (1.0, 0.7, "'beta: what is not yet learned over D', '1.2'"),  # phase II: noise is 1.5
    ],
)
def test_the_exponent_of_the_data_stands_beside_the_term_that_dominates(alpha: float, beta: float, wanted: str) -> None:
    spec = feature_study(features={"ambient": 128, "alpha": alpha, "beta": beta}, bootstrap=0)
    assert wanted in told(spec, rows_of_the_law(spec))


def test_a_best_size_at_the_end_of_the_family_is_no_number_with_an_interval() -> None:
    spec = feature_study(features={"ambient": 40}, bootstrap=0)
    text = told(spec, rows_of_the_law(spec))
    assert "largest size there is" in text and "N is where the family ends, not a minimum of the law" in text
    free = wide_study(bootstrap=0)
    assert "size there is" not in told(free, rows_of_the_law(free))


@pytest.mark.parametrize("bend", [0.0, 0.05])
def test_misfit_beyond_the_scatter_of_the_seeds_is_told(bend: float) -> None:
    spec = wide_study(seeds={"range": 4}, bootstrap=0)
    rows = rows_of_the_law(spec, noise=0.003)
    rows["test_loss"] *= 1 + bend * np.sin(2 * np.log10(rows["tokens"])) * np.sin(3 * np.log10(rows["parameters"]))
    text = told(spec, rows)
    assert ("LACK OF FIT (F(" in text) == (bend > 0) and ("lack of fit: none seen" in text) == (bend == 0)


@pytest.mark.parametrize("column", ["tokens", "flops", "parameters"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_runs_without_a_count_above_zero_are_left_out_and_that_is_said(column: str, value: float) -> None:
    spec = feature_study()
    rows = rows_of_the_law(spec)
    rows[column] = rows[column].astype(float)
    rows.loc[rows.index[1], column] = value
    assert "1 runs are left out" in told(spec, rows)
    rows[column] = value
    assert "There is no run yet that ended well." in told(spec, rows)
