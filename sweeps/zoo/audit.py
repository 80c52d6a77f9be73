"""Proofs that a zoo is what its rows say: weights evaluated again, models trained again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from landsweep.orchestrator.errors import Untrusted, UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.trained_models.reader import Member, Zoo
from landsweep.sweeps.lab.training import Checkpoint, Ended, train_pack
from landsweep.sweeps.lab.training_units.session import DataSets

__all__ = ["Comparison", "reevaluate", "regenerate"]

_LOSS_TOLERANCE = 1e-3  # relative
_WRONG_SAMPLES = 1.5  # a tie between two outputs may be decided otherwise on another processor
_CLOSE = 1e-5
_CHUNK = 512
_DRAW = 20_020_11448


def reevaluate(zoo: Zoo, rows: pd.DataFrame, bench: Workbench, n: int) -> list[str]:
    """What is wrong with the weights of a zoo, a line for each finding.

    The final weights of `n` models, drawn at random but always the same ones, are evaluated again, by a plain forward
    pass of each network alone. That their files are as written is proved elsewhere (`Sweep.verify`).
    """
    with zoo.reading():
        return _reevaluated(zoo, rows, bench, n)


def _reevaluated(zoo: Zoo, rows: pd.DataFrame, bench: Workbench, n: int) -> list[str]:
    findings: list[str] = []
    with_weights = set(zoo.keys)
    keys = [k for k in rows.loc[rows["status"] == "ok", "key"] if k in with_weights]
    keys = [k for k in keys if "last" in zoo[k].labels]
    chosen = np.random.Generator(np.random.Philox(_DRAW)).permutation(len(keys))[:n]
    data_sets, compared = DataSets(bench), 0
    for i in sorted(chosen):
        member = zoo[keys[i]]
        recipe = member.recipe()
        zoo.models.refuse_files(recipe)
        try:
            metrics = _evaluated(member, recipe, data_sets.of(recipe), bench.device)
        except Untrusted:
            raise
        except UsageError as e:
            findings.append(str(e))
            continue
        compared += len(metrics)
        for name, (value, samples) in metrics.items():
            stored = float(member.row[name])
            of_loss = _LOSS_TOLERANCE * max(1.0, abs(stored))
            allowed = _WRONG_SAMPLES / samples if name.endswith("_accuracy") else of_loss
            if not abs(value - stored) <= allowed:
                findings.append(
                    f"model {member.key}: {name} is {stored:.6g} in its row, but its weights give {value:.6g}"
                )
    if n and not compared and not findings:
        findings.append(f"nothing was evaluated again: of {len(rows)} rows, {len(keys)} ended ok with final weights")
    return findings


def _evaluated(member: Member, recipe: Recipe, data: Data, device: str) -> dict[str, tuple[float, int]]:
    """Metric to value and number of samples, on the splits that all models saw unchanged."""
    module = member.module().to(device)
    loss = ("cross_entropy" if data.classes else "mse") if recipe.loss == "auto" else recipe.loss
    metrics: dict[str, tuple[float, int]] = {}
    for name in recipe.evaluate.splits or tuple(data.splits):
        if name == recipe.split and (recipe.label_noise or recipe.train_fraction < 1):
            continue
        split = _typed(data.splits[name].head(recipe.evaluate.first), next(module.parameters()).dtype)
        with torch.no_grad():
            outputs = torch.cat([module(inputs) for inputs in torch.split(split.inputs, _CHUNK)])
        metrics[f"{name}_loss"] = _loss(loss, outputs, split.targets), len(split)
        if data.classes:
            metrics[f"{name}_accuracy"] = float((outputs.argmax(-1) == split.targets).double().mean()), len(split)
    return metrics


def _loss(loss: str, outputs: Tensor, targets: Tensor) -> float:
    """Mean over samples and positions; written anew, so that an error in the training's own would show."""
    if loss == "cross_entropy":
        return float(F.cross_entropy(outputs.flatten(0, -2).double(), targets.flatten()))
    if loss in _OF_CLASSES:
        return float(_OF_CLASSES[loss](outputs.flatten(0, -2).double(), targets.flatten()))
    if loss == "outputs":
        return float(outputs.double().mean())
    wanted = targets if targets.is_floating_point() else F.one_hot(targets, outputs.shape[-1])
    return float(F.mse_loss(outputs.double(), wanted.view(outputs.shape).double()))


def _squentropy(outputs: Tensor, targets: Tensor) -> Tensor:
    wrong = outputs[F.one_hot(targets, outputs.shape[-1]) == 0]
    return F.cross_entropy(outputs, targets) + wrong.square().mean()


def _stablemax(outputs: Tensor, targets: Tensor) -> Tensor:
    sizes = F.relu(outputs) + 1 / (1 + F.relu(-outputs))
    return F.nll_loss((sizes / sizes.sum(1, keepdim=True)).log(), targets)


_OF_CLASSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": F.multi_margin_loss,
    "squentropy": _squentropy,
    "stablemax": _stablemax,
}


def _typed(split: Split, dtype: torch.dtype) -> Split:
    inputs, targets = (t.to(dtype) if t.is_floating_point() else t for t in (split.inputs, split.targets))
    return Split(inputs, targets)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model trained again, against what is stored.

    Attributes:
        key: of the model.
        backend: that trained it again.
        stored_backend: that trained it in the zoo.
        difference: label to largest absolute difference of any weight; 0 is bitwise equality, NaN where one of the two
            has no checkpoint of this label.
        ended: how the second training ended.
        stored_end: how the first one did.
    """

    key: str
    backend: str
    stored_backend: str
    difference: Mapping[str, float]
    ended: str
    stored_end: str

    @property
    def bitwise(self) -> bool:
        """Whether all weights of all checkpoints are equal."""
        return self.ended == self.stored_end and all(d == 0 for d in self.difference.values())

    @property
    def close(self) -> bool:
        """Whether they are equal within 1e-5: what another back-end or pack size can change on a stable run."""
        return self.ended == self.stored_end and all(d <= _CLOSE for d in self.difference.values())

    def text(self) -> str:
        """The same for people."""
        head = f"model {self.key}, back-end {self.backend} (in the zoo: {self.stored_backend}), ended {self.ended}"
        head += "" if self.ended == self.stored_end else f", but {self.stored_end} in the zoo"
        lines = [f"  {label}: {_in_words(d)}" for label, d in self.difference.items()]
        verdict = "the same bits" if self.bitwise else "equal within 1e-5" if self.close else "not the same model"
        return "\n".join([head, *lines, verdict])


def _in_words(difference: float) -> str:
    if math.isnan(difference):
        return "only in one of the two"
    return "bitwise equal" if difference == 0 else f"largest difference {difference:.3g}"


def regenerate(member: Member, *, backend: str | None = None, device: str = "cpu") -> Comparison:
    """Train one model again, alone, from its row.

    Args:
        member: of the zoo.
        backend: None takes the one of the row, so that the same bits can be expected.
        device: `cpu` or `cuda:0`.

    Raises:
        UsageError: the zoo holds no recipe for it, because it was not made by this project.
        Untrusted: the zoo is neither own nor trusted, and names code, or data in files outside of its folder.
    """
    with member.files.reading():
        return _regenerated(member, backend, device)


def _regenerated(member: Member, backend: str | None, device: str) -> Comparison:
    if not member.files.head:
        raise UsageError(f"{member.files.where} is a published zoo without recipes: its models can't be trained again")
    recipe = member.recipe()
    member.files.refuse_files(recipe)
    folder = Path(member.files.head.get("folder", "."))
    data = recipe.data.load(folder).to(device)
    stored = str(member.row["backend"])
    training = train_pack([recipe], data, device=device, backend=backend or stored, base=folder)
    states: dict[str, dict[str, Tensor]] = {}
    ended = "ok"
    for event in training:
        if isinstance(event, Checkpoint):
            states[event.label] = dict(event.state)
        elif isinstance(event, Ended):
            ended = event.status
    labels = list(dict.fromkeys([*member.labels, *states]))
    both = states.keys() & set(member.labels)
    differences = {
        label: _difference(member.state(label), states[label]) if label in both else math.nan for label in labels
    }
    return Comparison(member.key, training.backend, stored, differences, ended, str(member.row["status"]))


def _difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    if a.keys() != b.keys() or any(a[n].shape != b[n].shape for n in a):
        return math.inf
    return max((_apart(a[n].cpu().double(), b[n].cpu().double()) for n in a), default=0.0)


def _apart(a: Tensor, b: Tensor) -> float:
    """Largest difference; NaN, as a diverged model has, is equal to NaN and infinitely far from all else."""
    if not torch.equal(a.isnan(), b.isnan()):
        return math.inf
    gaps = torch.where((a == b) | a.isnan(), 0.0, (a - b).abs())
    return float(gaps.max()) if gaps.numel() else 0.0
