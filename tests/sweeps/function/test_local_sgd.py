"""Local SGD against one optimizer on all batches, one worker alone, and torch's own Nesterov momentum."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.local_sgd import average, train
from landsweep.sweeps.lab.data.functions_to_learn import next_tokens, token_odds


def test_averages_after_each_step_are_one_run_with_all_batches() -> None:
    """Plain SGD: the mean of K steps from one point is the step along the mean of K gradients."""
    one, four = (train(4, every, 32 * 4 * 20, 0.5, seed=3, batch=32, width=16) for every in (0, 1))
    assert one["steps"] == four["steps"] == four["averages"] == 20 and one["sent"] == 0
    assert four["test_loss"] == pytest.approx(one["test_loss"], rel=1e-5)
    other = train(4, 5, 32 * 4 * 20, 0.5, seed=3, batch=32, width=16)
    assert other["averages"] == 4 and abs(float(other["test_loss"]) - float(one["test_loss"])) > 1e-4


@pytest.mark.parametrize("inner", ["sgd", "adamw"])
def test_one_worker_is_a_run_without_averages(inner: str) -> None:
    rate = 0.5 if inner == "sgd" else 0.01
    often, never = (train(1, every, 640, rate, seed=1, width=16, inner=inner) for every in (3, 1000))
    assert often["test_loss"] == pytest.approx(never["test_loss"], rel=1e-6)


def test_the_outer_step_is_torchs_nesterov_sgd_on_the_mean_of_what_workers_went() -> None:
    torch.manual_seed(0)
    start = nn.Linear(3, 2)
    modules: list[nn.Module] = [copy.deepcopy(start) for _ in range(3)]
    outer = {n: p.detach().clone() for n, p in start.named_parameters()}
    speed = {n: torch.zeros_like(p) for n, p in outer.items()}
    oracle = torch.optim.SGD(start.parameters(), 0.7, momentum=0.9, nesterov=True)
    for _ in range(4):
        for module in modules:
            with torch.no_grad():
                for p in module.parameters():
                    p -= torch.randn_like(p)
        for n, p in start.named_parameters():
            p.grad = torch.stack([p.detach() - dict(m.named_parameters())[n].detach() for m in modules]).mean(0)
        oracle.step()
        average(modules, outer, speed, 0.7, 0.9)
        for module in modules:
            for a, b in zip(module.parameters(), start.parameters(), strict=True):
                torch.testing.assert_close(a, b)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="less than one step of 4 workers needs, 128"):
        train(4, 1, 100, 0.1, seed=0)
    with pytest.raises(UsageError, match="neither sgd nor adamw"):
        train(1, 1, 100, 0.1, seed=0, inner="lion")


def test_tokens_follow_the_odds_of_their_domain() -> None:
    pairs, after = token_odds(1, tokens=4, shared=0.5)
    inputs, targets = next_tokens(1, tokens=4, shared=0.5, train=40_000)["train"]
    counts = torch.zeros(4, 4, 4, dtype=torch.float64)
    x = torch.from_numpy(inputs)
    places = (x[:, :4].argmax(1), x[:, 4:].argmax(1), torch.from_numpy(targets))
    counts.index_put_(places, torch.ones(40_000).double(), accumulate=True)
    wanted = torch.from_numpy(pairs)[..., None] * torch.from_numpy(after)
    deviation = (wanted * (1 - wanted) / 40_000).sqrt()
    assert float(((counts / 40_000 - wanted) / deviation).abs().max()) < 4
    entropy = -(wanted * torch.from_numpy(after).log()).sum()
    best = F.nll_loss(torch.from_numpy(after).log()[places[:2]], places[2])
    assert float(best) == pytest.approx(float(entropy), rel=0.02)
