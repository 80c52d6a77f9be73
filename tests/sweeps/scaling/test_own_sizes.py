"""Studies of the user's own networks: sizes that the spec declares, and that are compared with the networks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.spec import ScalingSpec

KIND = ScalingKind()
RULE = {
    "arguments": {"width": "wide", "depth": "layers"},
    "parameters": "inputs * width + (depth - 1) * width ** 2 + width * outputs",
    "outside": "width * outputs",
}


def build(wide: int, layers: int = 1) -> nn.Module:
    sizes = [10, *[wide] * layers]
    hidden = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(wide, 3, bias=False))


class Twice(nn.Module):
    """Passes its input through the network twice, which the formula does not say."""

    def __init__(self, wide: int, layers: int = 1) -> None:
        super().__init__()
        self.net = build(wide, layers)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.net(x) + self.net(-x)
        return outputs


def study(rule: dict[str, Any] | None = None, function: str = "build", **fields: Any) -> ScalingSpec:
    given = {
        "name": "own",
        "recipe": {
            "data": {"source": "teacher_student", "task": "classification", "features": 10, "outputs": 3, "train": 256},
            "net": {"net": "own", "build": f"{__name__}:{function}", "args": {"layers": 2}},
            "optimizer": {"method": "sgd", "learning_rate": 0.1},
            "batch_size": 16,
        },
        "shape": {"own": rule or RULE},
        "widths": [4, 8, 12],
        "budgets": {"geometric": [4e5, 1.6e6, 3]},
        "limits": {"least_steps": 5},
        "backend": "loop",
        "bootstrap": 0,
        **fields,
    }
    return KIND.parse({"kind": "scaling", **given}, "spec")


def test_sizes_are_what_the_rule_declares() -> None:
    size = Ladder(study()).size(8)
    assert (size.parameters, size.body, size.depth) == (10 * 8 + 64 + 24, 10 * 8 + 64, 2)
    assert size.step_flops == 16 * 3 * 2 * size.parameters and size.step_tokens == 16
    deeper = Ladder(study(shape={"own": RULE, "depth": 4})).size(4)
    assert deeper.net is not None and deeper.net.model_dump()["args"] == {"layers": 4, "wide": 4}
    assert Ladder(study(shape={"own": RULE, "aspect": 4})).size(12).depth == 3


def test_a_whole_study_with_a_report(tmp_path: Path) -> None:
    spec = study()
    assert run_example(KIND, spec, tmp_path).phase == "done"
    rows = Sweep(Ledger.open(Store.at(tmp_path))).rows()
    assert (rows["status"] == "ok").all() and set(rows["width"]) <= {4, 8, 12}
    assert all(rows["parameters"] == 10 * rows["width"] + rows["width"] ** 2 + 3 * rows["width"])


@pytest.mark.parametrize(
    ("rule", "function", "message"),
    [
        ({**RULE, "parameters": "13 * width"}, "build", r"'13 \* width' gives 52 for width 4, depth 2, but .* has 68"),
        (RULE, "Twice", r"shape\.own\.forward: .* take 272; at most 10% may be between them"),
        ({**RULE, "forward": "width"}, "build", r"gives 4 FLOPs for width 4"),
    ],
)
def test_what_was_declared_wrongly_is_found_before_any_work(rule: dict[str, Any], function: str, message: str) -> None:
    spec = study(rule, function)
    with pytest.raises(SpecError, match=message):
        KIND.check(spec, Workbench(folder=Path()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape": {}}, r"shape\.own: the sizes of an own network are not known"),
        ({"shape": {"own": {**RULE, "parameters": "height * 2"}}}, "there is no 'height'; there are width, depth"),
        ({"shape": {"own": {**RULE, "parameters": "__import__('os')"}}}, "only numbers, width"),
        ({"shape": {"own": {**RULE, "parameters": "width / 3"}}}, "must be a whole number from 1"),
        ({"shape": {"own": {**RULE, "arguments": {"depth": "layers"}}}}, "say which argument the `width` is"),
        ({"shape": {"own": {**RULE, "arguments": {"width": "wide"}}, "depth": 2}}, "the depth is"),
    ],
)
def test_rules_that_can_not_work(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(**fields)
