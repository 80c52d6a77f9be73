"""Tokens per second of a language model through a recipe and in a plain loop, in turns in one process.

The plain loop is what anyone would write after nanoGPT: batches at random places of one array of tokens, autocast,
`F.cross_entropy`, clipped gradients, torch's fused AdamW, and an evaluation at the end. Both build the same network, of
this package, anew in each repeat, outside of the clock, and train it with fused attention, in the same arithmetic. On
CPUs the clock is that of the process.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from landsweep.sweeps.lab.arithmetic import arithmetic
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.models import parameter_count
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, train_pack
from landsweep.sweeps.lab.training.assembly import module_of
from landsweep.sweeps.lab.training.recompute import fuse_attention

__all__ = ["Pace", "paces", "recipe_of"]


@dataclass(frozen=True)
class Pace:
    """Tokens per second of the two in each pair, and the size of the network."""

    all_ours: list[float]
    all_plain: list[float]
    parameters: int

    @property
    def ours(self) -> float:
        return statistics.median(self.all_ours)

    @property
    def plain(self) -> float:
        return statistics.median(self.all_plain)

    @property
    def ratios(self) -> list[float]:
        """Of each pair, the least first."""
        return sorted(mine / theirs for mine, theirs in zip(self.all_ours, self.all_plain, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def recipe_of(
    width: int, depth: int, *, batch: int, context: int, steps: int, precision: str, vocabulary: int = 256
) -> Recipe:
    """A decoder as a recipe for large models has it."""
    net = {"net": "gpt", "width": width, "depth": depth, "heads": max(1, width // 64)}
    return Recipe.model_validate(
        {
            "data": {"source": "markov", "states": vocabulary, "context": context, "train": batch, "test": 1},
            "net": net,
            "optimizer": {"method": "adamw", "learning_rate": 3e-4, "weight_decay": 0.1},
            "batch_size": batch,
            "steps": steps,
            "clip": 1.0,
            "precision": precision,
            "attention": "fused",
            "fused_step": True,
            "evaluate": {"splits": ["test"]},
            "checkpoints": {"last": False},
        }
    )


def tokens_of(recipe: Recipe, device: str) -> tuple[Data, torch.Tensor]:
    """Random tokens as data of a recipe, some batches of them, and the same as one array."""
    source: Any = recipe.data
    states, context, batch = source.states, source.context, recipe.batch_size
    flow = torch.randint(states, (16 * batch * context + 1,), generator=torch.Generator().manual_seed(0))
    inputs, targets = flow[:-1].view(-1, context), flow[1:].view(-1, context)
    splits = {"train": Split(inputs, targets), "test": Split(inputs[:1], targets[:1])}
    return Data(splits, states, (context,)).to(device), flow.to(device)


def ours(recipe: Recipe, data: Data, device: str) -> float:
    """Seconds that a whole training takes, but for its building."""
    training = train_pack([recipe], data, device=device, backend="loop")
    began = now(device)
    (end,) = [event for event in training if isinstance(event, Ended)]
    assert end.status == "ok", end.error
    return now(device) - began


def plain(recipe: Recipe, data: Data, flow: torch.Tensor, device: str) -> float:
    """Seconds that the same steps take in the plain loop, and one evaluation at their end; but for its building."""
    context, where = data.shape[0], torch.device(device)
    module = module_of(recipe, data, Path()).to(device)
    fuse_attention(module)
    adamw = torch.optim.AdamW(module.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    began = now(device)
    for _ in range(recipe.steps or 0):
        places = torch.randint(len(flow) - context, (recipe.batch_size,)).tolist()
        x = torch.stack([flow[i : i + context] for i in places])
        y = torch.stack([flow[i + 1 : i + 1 + context] for i in places])
        with arithmetic(recipe.precision, where):
            logits = module(x)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
    held_out = data.splits["test"]
    with torch.no_grad(), arithmetic(recipe.precision, where):
        logits = module(held_out.inputs)
        F.cross_entropy(logits.flatten(0, 1), held_out.targets.flatten()).item()
    return now(device) - began


def now(device: str) -> float:
    """Seconds of this process's processor time, whatever else the machine does; on a GPU those of the clock."""
    if torch.device(device).type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def paces(recipe: Recipe, device: str = "cpu", repeats: int = 5) -> Pace:
    """Some repeats in turns, either one first in every second of them, after one that warms up."""
    data, flow = tokens_of(recipe, device)
    sides = [lambda: ours(recipe, data, device), lambda: plain(recipe, data, flow, device)]
    pairs = []
    for turn in range(repeats + 1):
        order = (0, 1) if turn % 2 else (1, 0)
        seconds = {side: sides[side]() for side in order}
        pairs.append((seconds[0], seconds[1]))
    tokens = (recipe.steps or 0) * recipe.batch_size * data.shape[0]
    size = parameter_count(module_of(recipe, data, Path()))
    return Pace([tokens / mine for mine, _ in pairs[1:]], [tokens / theirs for _, theirs in pairs[1:]], size)
