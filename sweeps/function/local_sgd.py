"""Local SGD: workers that step alone and average every so many steps, with an optimizer over the averages.

DiLoCo (arXiv 2311.08105; laws: arXiv 2409.13198) is the case of AdamW inside and SGD with Nesterov momentum outside.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.lab.data.functions_to_learn import next_tokens
from landsweep.sweeps.lab.streams import generator

__all__ = ["average", "train"]

Weights = dict[str, Tensor]


def train(
    workers: int,
    every: int,
    samples: int,
    learning_rate: float,
    seed: int,
    batch: int = 32,
    width: int = 32,
    inner: str = "sgd",
    outer_rate: float = 1.0,
    outer_momentum: float = 0.0,
    tokens: int = 12,
) -> dict[str, float | int]:
    """A perceptron that gives the token after two others, by local SGD.

    At each step each worker takes a batch of its own. After `every` steps and at the end, the outer optimizer, SGD with
    Nesterov momentum, takes the old weights less the mean of the workers' as its gradient, and the workers begin from
    its weights anew; the state of their inner optimizer stays.

    Args:
        workers: how many.
        every: steps between averages; 0: no workers, but one optimizer on the batches of all.
        samples: for all workers together; those that fill no batch of all workers are left out.
        learning_rate: of the inner optimizer; it falls to 0 as a cosine.
        seed: of weights and batches.
        batch: samples of a step of one worker.
        width: of both hidden layers.
        inner: `sgd` or `adamw`.
        outer_rate: 1 without momentum takes the mean of the workers as it is.
        outer_momentum: of the outer optimizer.
        tokens: of the vocabulary.

    Returns:
        The loss on test samples at the end, in nats, steps, averages, and numbers sent by each worker.

    Raises:
        UsageError: there are too few samples for one step, or there is no such inner optimizer.
    """
    if every == 0:
        workers, batch = 1, workers * batch
    steps = samples // (workers * batch)
    if steps < 1:
        raise UsageError(f"samples: {samples} are less than one step of {workers} workers needs, {workers * batch}")
    data = {name: _tensors(pair) for name, pair in next_tokens(0, tokens=tokens).items()}
    modules = [_network(2 * tokens, width, tokens, seed) for _ in range(workers)]
    optimizers = [_inner(inner, module, learning_rate) for module in modules]
    outer = {name: p.detach().clone() for name, p in modules[0].named_parameters()}
    speed = {name: torch.zeros_like(p) for name, p in outer.items()}
    order = generator(seed, "order")
    inputs, targets = data["train"]
    schedule = torch.linspace(0, torch.pi, steps + 1)[:-1].cos().add(1).div(2).tolist()
    for step in range(steps):
        chosen = torch.randint(len(targets), (workers, batch), generator=order)
        for module, optimizer, rows in zip(modules, optimizers, chosen, strict=True):
            _step(module, optimizer, learning_rate * schedule[step], inputs[rows], targets[rows])
        if (every and (step + 1) % every == 0) or step + 1 == steps:
            average(modules, outer, speed, outer_rate, outer_momentum)
    averages = -(-steps // every) if every else 1
    sent = averages * sum(p.numel() for p in outer.values()) if workers > 1 else 0
    return {"test_loss": _loss(modules[0], *data["test"]), "steps": steps, "averages": averages, "sent": sent}


@torch.no_grad()
def average(modules: list[nn.Module], outer: Weights, speed: Weights, rate: float = 1.0, momentum: float = 0.0) -> None:
    """A step of the outer optimizer; `outer`, its momentum `speed` and the weights of all workers are changed."""
    states = [dict(module.named_parameters()) for module in modules]
    for name, weight in outer.items():
        slope = weight - torch.stack([state[name] for state in states]).mean(0)
        speed[name].mul_(momentum).add_(slope)
        weight.sub_(slope + momentum * speed[name] if momentum else slope, alpha=rate)
        for state in states:
            state[name].copy_(weight)


@torch.no_grad()
def _loss(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    return float(F.cross_entropy(module(inputs), targets))


def _step(module: nn.Module, optimizer: torch.optim.Optimizer, rate: float, inputs: Tensor, targets: Tensor) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    F.cross_entropy(module(inputs), targets).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _network(inputs: int, width: int, outputs: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(generator(seed, "init").initial_seed())
        layers = nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
        return nn.Sequential(*layers)


def _inner(name: str, module: nn.Module, rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(module.parameters(), rate)
    if name == "adamw":
        return torch.optim.AdamW(module.parameters(), rate, weight_decay=0.0)
    raise UsageError(f"inner: {name!r} is neither sgd nor adamw")


def _tensors(pair: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(pair[0]).float(), torch.from_numpy(pair[1])
