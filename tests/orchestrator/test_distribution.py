"""One language of distributions: searches and zoos take the same forms and refuse the same ranges."""

from __future__ import annotations

from typing import Any

import pytest

from landsweep.orchestrator.distribution import Distribution
from landsweep.orchestrator.draws import Draw
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.search.space import Setting
from landsweep.orchestrator.spec import parse


@pytest.mark.parametrize("kind", [Setting, Draw])
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"uniform": [1, 1]}, "the range is empty"),
        ({"integer": [3, 2]}, "the range is empty"),
        ({"log_uniform": [0, 1]}, "both bounds must be above 0"),
        ({"log_integer": [-1, 4]}, "both bounds must be above 0"),
        ({"uniform": [0, 1], "choice": [1]}, "got uniform and choice"),
    ],
)
def test_bad_ranges_are_refused(kind: type[Distribution], given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=rf"(?s)^it:.*{complaint}"):
        parse(kind, given, "it")


@pytest.mark.parametrize("kind", [Setting, Draw])
@pytest.mark.parametrize(
    ("given", "edges"),
    [
        ({"uniform": [0, 2]}, (0.0, 2.0)),
        ({"log_uniform": [1e-4, 1]}, (1e-4, 1.0)),
        ({"integer": [2, 9]}, (2, 9)),
        ({"log_integer": [1, 64]}, (1, 64)),
        ({"choice": ["a", None, [1, 2]]}, ("a", None, "[1,2]")),
    ],
)
def test_edges(kind: type[Distribution], given: dict[str, Any], edges: tuple[object, ...]) -> None:
    values = parse(kind, given, "it").edges()
    assert values == edges and [type(v) for v in values] == [type(v) for v in edges]
