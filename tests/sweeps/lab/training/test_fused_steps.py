"""Steps of whole packs by torch's kernel: the steps that each model makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from landsweep.sweeps.lab.training import updater
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import Bmm
from landsweep.sweeps.lab.training.stepper import Stepper
from tests.sweeps.lab.training.cases import digits, distance, finals, recipe, run
from tests.sweeps.lab.training.plain_loop import LOW


@pytest.mark.parametrize("method", ["adam", "adamw"])
@pytest.mark.parametrize(
    ("more", "at_once"),
    [
        ({}, True),
        ({"schedule": {"shape": "one_cycle"}, "clip": 0.5}, True),
        ({"parametrization": {"scheme": "mup", "base_width": 4}}, False),
        ({"on_spike": "skip", "spike": LOW}, None),
    ],
)
def test_a_fused_step_of_a_pack_is_the_step(
    method: str, more: dict[str, Any], at_once: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the whole pack where only rates and decays differ; of each where some models have made fewer."""

    def weights(fused: bool) -> dict[int, Mapping[str, Tensor]]:
        optimizers = [{"method": method, "learning_rate": 0.003 * (i + 1), "weight_decay": 0.1 * i} for i in range(4)]
        fields: dict[str, Any] = {"dtype": "float64", "steps": 20, "fused_step": fused, **more}
        return finals(run([recipe(i, optimizer=o, **fields) for i, o in enumerate(optimizers)], digits(), "bmm"))

    plain = weights(False)
    weights(True)  # what is tried out once trains single models too
    calls: list[str] = []
    for name, call in (("fused_step", updater.fused_step), ("fused_steps", updater.fused_steps)):
        monkeypatch.setattr(updater, name, lambda *a, _n=name, _c=call: (calls.append(_n), _c(*a)))
    fused = weights(True)
    assert all(distance(plain[i], fused[i]) < 1e-9 for i in range(4))
    assert set(calls) == (
        {"fused_step", "fused_steps"} if at_once is None else {"fused_steps" if at_once else "fused_step"}
    )


def test_other_packs_make_each_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def at_once(**differ: float) -> bool:
        optimizers = [{"method": "adamw", **{n: v * (i + 1) for n, v in differ.items()}} for i in range(2)]
        recipes = [recipe(optimizer=o, fused_step=True) for o in optimizers]
        calls.clear()
        Stepper(assemble(recipes, digits(), Bmm, "cpu", Path()), recipes, digits(), 30).make_step()
        return bool(calls)

    monkeypatch.setattr(updater, "fused_steps", lambda *a: calls.append("at once"))
    assert at_once(learning_rate=0.1, weight_decay=0.1)
    assert not any(at_once(**{name: 0.1}) for name in ("beta1", "beta2", "eps"))
    monkeypatch.setattr(updater, "LARGE", 100)
    assert not at_once()
