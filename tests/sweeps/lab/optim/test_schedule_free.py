"""Schedule-free methods: what models are evaluated and kept at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer as po
import torch
from pydantic import ValidationError

from landsweep.sweeps.lab.training import Checkpoint, Ended
from tests.sweeps.lab.optim.cases import Settings
from tests.sweeps.lab.optim.problem import Bag, all_in, recipes, slope, trained
from tests.sweeps.lab.training.cases import recipe, run

SGD: Settings = {"method": "schedule_free_sgd", "learning_rate": 0.1, "momentum": 0.8}
ADAMW: Settings = {"method": "schedule_free_adamw", "learning_rate": 0.01, "beta1": 0.7, "weight_decay": 0.1}


@pytest.mark.parametrize("settings", [SGD, ADAMW], ids=lambda s: s["method"])
def test_the_average_is_that_of_the_reference(settings: Settings) -> None:
    with all_in(torch.float64):
        stack, rates, updater = trained([settings], torch.float64)
        bag = Bag(0, torch.float64)
        made: dict[str, Any] = {"lr": settings["learning_rate"], "weight_decay": settings.get("weight_decay", 0.0)}
        peer = (
            po.ScheduleFreeSGD(bag.parameters(), **made, momentum=0.8)
            if settings is SGD
            else po.ScheduleFreeAdamW(bag.parameters(), **made, betas=(0.7, 0.999))
        )
        for step in range(20):
            peer.param_groups[0]["lr"] = rates.learning_rates(step)[0]
            for p in bag.parameters():
                p.grad = slope(p.detach())
            peer.step()
        peer.eval()
    wanted = torch.cat([p.detach().flatten() for p in bag.parameters()])
    torch.testing.assert_close(updater.evaluated(stack.weights)[0], wanted, rtol=0, atol=1e-12)
    assert float((stack.weights[0] - wanted).abs().max()) > 1e-3


@pytest.mark.parametrize("settings", [SGD, ADAMW], ids=lambda s: s["method"])
@pytest.mark.parametrize("backend", ["loop", "bmm"])
def test_rows_and_checkpoints_are_of_the_average(settings: Settings, backend: str) -> None:
    """The loss of an evaluation is that of the weights that are kept, also after one model has left the pack."""
    each = [recipe(seed, optimizer=settings, steps=9, checkpoints={"at_steps": [0]}) for seed in range(2)]
    data = each[0].data.load(Path())
    events = run(each, data, backend)
    kept = {(e.index, e.label): e.state for e in events if isinstance(e, Checkpoint)}
    test = data.splits["test"]
    for ended in (e for e in events if isinstance(e, Ended)):
        net = each[ended.index].build(data.shape, data.outputs)
        start = {n: t.clone() for n, t in net.state_dict().items()}
        assert all(torch.equal(t, start[n]) for n, t in kept[ended.index, "step-000000"].items())
        net.load_state_dict(kept[ended.index, "last"])
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(net(test.inputs), test.targets)
        assert ended.metrics["test_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_a_second_average_and_a_moving_momentum_are_refused() -> None:
    with pytest.raises(ValidationError, match="averages the weights by itself; leave averaging out"):
        recipes([SGD], averaging={"average": "exponential"})
    with pytest.raises(ValidationError, match="leave momenta out"):
        recipes([ADAMW], schedule={"shape": "one_cycle", "momenta": [0.85, 0.95]})
