"""SAF: training stays close to what the model gave for the same samples some epochs ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.losses import TrainingLoss

__all__ = ["PastOutputs", "Trajectory", "TrajectoryLoss"]


class Trajectory(Section):
    """The trajectory loss of sharpness-aware training for free (SAF, arXiv 2205.14083, section 3.2).

    Beside the loss of each sample stands weight t^2 KL(softmax(past / t) || softmax(now / t)), t being `temperature`
    and `past` the logits that training gave for the same sample `ago` epochs before; the factor t^2 is that of the
    authors' code. Samples that were not seen then have no such term, nor have the first `start` epochs.
    """

    weight: float = Field(0.3, ge=0, description="of the term")
    temperature: float = Field(5.0, gt=0)
    ago: int = Field(3, ge=1, description="how many epochs back; so many logits are kept of each sample")
    start: int = Field(5, ge=0, description="how many epochs go by without it")


@dataclass(frozen=True, slots=True)
class TrajectoryLoss(TrainingLoss):
    """A loss with the term of `Trajectory`, for targets that `PastOutputs.joined` made; of others the loss alone.

    Attributes:
        spec: of the term.
        seen: outputs [K, n, classes] of each call with such targets, or of one model after the other.
    """

    spec: Trajectory = field(default_factory=Trajectory)
    seen: list[Tensor] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        return False

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if not targets.is_floating_point():
            return TrainingLoss.__call__(self, outputs, targets)
        self.seen.append(outputs.detach())
        classes, known, past = targets[..., 0].long(), targets[..., 1], targets[..., 2:]
        now, then = (torch.log_softmax(logits / self.spec.temperature, -1) for logits in (outputs, past))
        apart = (then.exp() * (then - now)).sum(-1)
        factor = self.spec.weight * self.spec.temperature**2
        return TrainingLoss.__call__(self, outputs, classes) + factor * known * apart


class PastOutputs:
    """What K models gave for their samples in the last epochs.

    Args:
        loss: which sees the outputs.
        models: how many.
        samples: of the split.
        classes: outputs of a sample.
        like: a tensor on the device and in the type of the outputs.
    """

    def __init__(self, loss: TrajectoryLoss, models: int, samples: int, classes: int, like: Tensor) -> None:
        self._loss = loss
        dtype = torch.promote_types(like.dtype, torch.float32)  # numbers of classes stand in it too
        self._logits = like.new_zeros(models, samples, loss.spec.ago, classes, dtype=dtype)
        self._epochs = torch.full((models, samples, loss.spec.ago), -1, device=like.device)

    def joined(self, targets: Tensor, samples: Tensor, epochs: Sequence[int]) -> Tensor:
        """Classes, whether there are past outputs, and these: [K, n, 2 + classes].

        Args:
            targets: [K, n] classes.
            samples: [K, n] numbers of the samples.
            epochs: which one each model is in.
        """
        rows, now, slot = self._places(samples, epochs)
        known = (self._epochs[rows, samples, slot] == now - self._loss.spec.ago) & (now >= self._loss.spec.start)
        past = self._logits[rows, samples, slot]
        self._loss.seen.clear()
        return torch.cat([torch.stack([targets, known], 2).to(past.dtype), past], 2)

    def keep(self, samples: Tensor, epochs: Sequence[int]) -> None:
        """Take in the outputs that the loss has seen of these samples, as of `joined`."""
        rows, now, slot = self._places(samples, epochs)
        self._logits[rows, samples, slot] = torch.cat(self._loss.seen).to(self._logits.dtype)
        self._epochs[rows, samples, slot] = now.expand(samples.shape)
        self._loss.seen.clear()

    def _places(self, samples: Tensor, epochs: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Rows [K, 1], epochs [K, 1], and where among the kept ones they lie."""
        now = torch.tensor(epochs, device=samples.device).unsqueeze(1)
        rows = torch.arange(len(samples), device=samples.device).unsqueeze(1)
        return rows, now, now % self._loss.spec.ago

    def take(self, keep: Tensor) -> None:
        """Keep only these models."""
        self._logits, self._epochs = self._logits[keep], self._epochs[keep]

    def state(self) -> dict[str, Tensor]:
        """All that it keeps, by name."""
        return {"logits": self._logits, "epochs": self._epochs}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._logits = state["logits"].to(self._logits.device)
        self._epochs = state["epochs"].to(self._epochs.device)
