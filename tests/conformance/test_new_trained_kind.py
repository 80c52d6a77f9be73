"""A kind whose units are trainings is one class and one entry point: the lab does the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.testing.kind_suite import KindSuite
from tests.support.installed import install
from tests.support.rates import RatesKind


@pytest.fixture(scope="module", autouse=True)
def _registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("package")
    install(folder, "rates", "from tests.support.rates import RatesKind as Kind")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


class TestRates(KindSuite):
    kind = RatesKind()


def test_its_networks_are_shown_before_a_run() -> None:
    kind = RatesKind()
    (table,) = kind.tensors(kind.example(), Workbench())
    assert len(table.lines) == 4, "two layers with weights and biases"


def test_a_wrong_recipe_is_refused_where_it_stands() -> None:
    kind = RatesKind()
    with pytest.raises(SpecError, match="learning_rate"):
        kind.recipes(kind.example()).of({"rate": -1.0})
