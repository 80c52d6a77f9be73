"""Tokens per second of a language model through a recipe and in a plain loop, in turns in one process.

The plain loop is what anyone would write after nanoGPT: batches at random places of one array of tokens, autocast,
`F.cross_entropy`, clipped gradients, torch's fused AdamW. Both train the same network, of this package, with fused
attention.
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
    """Tokens per second of the two, and the size of the network."""

    ours: float
    plain: float
    parameters: int

    @property
    def ratio(self) -> float:
        return self.ours / self.plain


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
    (end,) = [event for event in training if isinstance(event, Ended)]
    assert end.status == "ok", end.error
    return end.seconds


class Plain:
    """The plain loop, which trains on from call to call."""

    def __init__(self, recipe: Recipe, data: Data, flow: torch.Tensor, device: str) -> None:
        self.recipe, self.flow, self.context = recipe, flow, data.shape[0]
        self.device = torch.device(device)
        self.module = module_of(recipe, data, Path()).to(device)
        fuse_attention(self.module)
        self.adamw = torch.optim.AdamW(self.module.parameters(), lr=3e-4, weight_decay=0.1, fused=True)

    def seconds(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(self.recipe.steps or 0):
            places = torch.randint(len(self.flow) - self.context, (self.recipe.batch_size,)).tolist()
            x = torch.stack([self.flow[i : i + self.context] for i in places])
            y = torch.stack([self.flow[i + 1 : i + 1 + self.context] for i in places])
            with arithmetic(self.recipe.precision, self.device):
                logits = self.module(x)
                loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.adamw.step()
            self.adamw.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


def paces(recipe: Recipe, device: str = "cpu", repeats: int = 5) -> Pace:
    """Medians over some repeats in turns, after one that warms up."""
    data, flow = tokens_of(recipe, device)
    plain = Plain(recipe, data, flow, device)
    both = [(ours(recipe, data, device), plain.seconds()) for _ in range(repeats + 1)][1:]
    tokens = (recipe.steps or 0) * recipe.batch_size * data.shape[0]
    mine, theirs = (statistics.median(times) for times in zip(*both, strict=True))
    return Pace(tokens / mine, tokens / theirs, parameter_count(plain.module))
