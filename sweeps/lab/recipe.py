"""Recipes: everything that is needed to train one model, and which recipes can train as one pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.arithmetic import Precision
from landsweep.sweeps.lab.augment import AugmentSpec
from landsweep.sweeps.lab.averaging import AveragingSpec
from landsweep.sweeps.lab.data import Data, DataSpec
from landsweep.sweeps.lab.grad_init import GradInit
from landsweep.sweeps.lab.identity import by_content
from landsweep.sweeps.lab.losses import OF_CLASSES, LossName, TrainingLoss
from landsweep.sweeps.lab.models import NetSpec
from landsweep.sweeps.lab.optim import NamedClass, OptimizerSpec, Sgd
from landsweep.sweeps.lab.optim.fused import FUSED
from landsweep.sweeps.lab.parametrization import (
    Factors,
    Parametrization,
    ParametrizationSpec,
    Standard,
    factors,
    family_of,
    rescale,
)
from landsweep.sweeps.lab.recipe_sections import Checkpoints, Count, Evaluation, Spike
from landsweep.sweeps.lab.schedules import Constant, ScheduleSpec
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.lab.trajectory import Trajectory, TrajectoryLoss

__all__ = ["Recipe"]

_PRECONDITIONED = [
    name
    for m in get_args(get_args(OptimizerSpec)[0])
    if m.preconditioned
    for name in get_args(m.model_fields["method"].annotation)
]


class Recipe(Section):
    """Everything needed to train one model.

    The same recipe gives the same weights: bit for bit for MLPs, whatever trains beside them; for other networks with
    the same back-end and size of pack, and else to rounding, because sums over more rows may be ordered otherwise.

    Random streams come from `seed` by name: `init`, `order`, `dropout`, `noise`, `subset`, `augment`. Recipes that
    share a seed share them, so that runs which differ in learning rate alone are paired.
    """

    data: DataSpec
    net: NetSpec
    split: str = Field("train", description="which split of the data to train on")
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="share of the samples, drawn by `subset`; smaller ones nest"
    )
    label_noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the split's samples whose label is replaced by another class, drawn by `noise`",
    )
    augment: AugmentSpec | None = None
    loss: Literal["auto", LossName] = Field(
        "auto",
        description="auto: cross_entropy for classes, mse for other targets; mse of classes is to one-hot; "
        "hinge, squentropy (arXiv 2302.03952) and stablemax (arXiv 2501.04697) are of classes; outputs: the mean of "
        "what the network gives, of networks that compute their own loss",
    )
    z_loss: float = Field(
        0.0,
        ge=0,
        exclude_if=lambda v: not v,
        description="weight of (log sum exp of the logits)^2, added to cross entropy in training; usually 1e-4",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        exclude_if=lambda v: not v,
        description="share of each target that is spread over all classes, for cross entropy in training",
    )
    trajectory: Trajectory | None = Field(
        None, exclude_if=lambda v: v is None, description="stay close to outputs of some epochs ago (SAF)"
    )
    grad_init: GradInit | None = Field(
        None, exclude_if=lambda v: v is None, description="learn a factor for each drawn tensor before training"
    )
    parametrization: ParametrizationSpec | None = Field(
        None,
        exclude_if=lambda v: v is None,
        description="how initialisation and rates depend on the network's size",
    )
    optimizer: OptimizerSpec = Sgd(method="sgd")
    schedule: ScheduleSpec = Constant(shape="constant")
    averaging: AveragingSpec | None = Field(
        None, exclude_if=lambda v: v is None, description="evaluate the model at averaged weights, and store these"
    )
    epochs: Annotated[int, Field(ge=0)] | None = Field(None, description="passes through the training data")
    steps: Annotated[int, Field(ge=0)] | None = Field(None, description="or steps; give one of the two")
    branched_at: Count | None = Field(
        None,
        exclude_if=lambda v: v is None,
        description="the step at which a branch left its main run; its evaluations and checkpoints begin after it",
    )
    batch_size: int = Field(64, ge=1)
    drop_last: bool = Field(False, description="leave out the samples of an epoch that don't fill a batch")
    clip: float | None = Field(None, gt=0, description="largest norm of the model's whole gradient")
    evaluate: Evaluation = Evaluation(every_epochs=1)
    checkpoints: Checkpoints = Checkpoints()
    dtype: Literal["float32", "float64"] = "float32"
    precision: Precision = Field(
        "float32",
        exclude_if=lambda v: v == "float32",
        description="arithmetic of products and convolutions; weights stay in float32; see docs/training.md",
    )
    bf16_weights: bool = Field(
        False,
        exclude_if=lambda v: not v,
        description="with precision bf16: weights are kept in bf16 too, each step is made in float32 and rounded",
    )
    micro_batch: Count | None = Field(
        None,
        exclude_if=lambda v: v is None,
        description="compute a batch in parts of this many samples, one after the other, to save memory",
    )
    recompute: bool = Field(
        False,
        exclude_if=lambda v: not v,
        description="compute activations of blocks again in the backward pass instead of keeping them",
    )
    attention: Literal["written_out", "fused"] = Field(
        "written_out", exclude_if=lambda v: v == "written_out", description="fused: as one operation, for large models"
    )
    compile: bool = Field(
        False, exclude_if=lambda v: not v, description="compile the network, which takes a minute: for large models"
    )
    fused_step: bool = Field(
        False, exclude_if=lambda v: not v, description="adam and adamw: the optimizer's step as one kernel"
    )
    on_spike: Literal["go_on", "skip", "stop"] = Field(
        "go_on",
        exclude_if=lambda v: v == "go_on",
        description="when the loss of a batch is a spike: skip leaves the step out, stop ends the model as diverged",
    )
    spike: Spike = Field(Spike(), exclude_if=lambda v: v == Spike(), description="what a spike is")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            given = "neither" if self.epochs is None else f"epochs: {self.epochs} and steps: {self.steps}"
            raise ValueError(f"a recipe needs either `epochs` or `steps`; got {given}")
        return self

    @model_validator(mode="after")
    def _arithmetic_fits(self) -> Self:
        if self.dtype != "float32" and self.precision != "float32":
            raise ValueError(f"precision: {self.precision} is for weights in float32, but dtype is {self.dtype}")
        if self.precision == "fp16" and self.optimizer.gradients > 1:
            raise ValueError(
                f"precision: fp16 scales losses, and {self.optimizer.method} takes more than one gradient in a step; "
                "take bf16"
            )
        if self.optimizer.linearises:
            self._keep_to_plain_steps()
        if self.optimizer.needs_positive_loss and self.loss == "outputs":
            raise ValueError("loss: outputs may be below 0, and the optimizer divides by the loss; take another")
        if self.skips and self.optimizer.needs_every_step:
            setting = "precision: fp16" if self.precision == "fp16" else "on_spike: skip"
            raise ValueError(
                f"{setting} may leave out a step, and {self.optimizer.method} must make them all: it renews what it "
                "keeps at certain ones; take bf16, and on_spike: stop or go_on"
            )
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(f"micro_batch: {self.micro_batch} is more than the batch_size of {self.batch_size}")
        if self.micro_batch is not None and self.trajectory is not None:
            raise ValueError("trajectory: it keeps outputs of whole batches; leave micro_batch out")
        if self.fused_step and self.optimizer.method not in FUSED:
            raise ValueError(f"fused_step: torch has no kernel for {self.optimizer.method}; it has: {', '.join(FUSED)}")
        if self.spike != Spike() and self.on_spike == "go_on":
            raise ValueError("spike says what a spike is, but on_spike is go_on; give skip or stop")
        return self

    @model_validator(mode="after")
    def _bf16_weights_fit(self) -> Self:
        if not self.bf16_weights:
            return self
        if self.precision != "bf16":
            raise ValueError(f"bf16_weights: is an option of precision: bf16, but precision is {self.precision}")
        if isinstance(self.optimizer, NamedClass):
            raise ValueError(
                "bf16_weights: a step is made in float32, which an optimizer class would not see; name one"
            )
        if self.optimizer.gradients > 1:
            raise ValueError(
                f"bf16_weights: {self.optimizer.method} looks at the network near the weights, where bf16 has hardly "
                "other numbers; leave one of the two out"
            )
        if self.optimizer.averages or self.averaging is not None:
            raise ValueError(
                "bf16_weights: averages of weights would be rounded before they are evaluated; leave it out"
            )
        if self.evaluate.probes:
            raise ValueError("bf16_weights: probes look at weights in float32; leave it, or evaluate.probes, out")
        return self

    def _keep_to_plain_steps(self) -> None:
        """Refuse what acts on gradients, of which a method that linearises makes no use, and what parts batches."""
        reasons = {"clip": "does not step along the gradient", "precision": "solves equations, which need float32"}
        reasons |= {"recompute": "differentiates sample by sample", "micro_batch": "needs the whole batch at once"}
        for name, why in reasons.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: {self.optimizer.method} {why}; leave it out")

    @model_validator(mode="after")
    def _probes_fit(self) -> Self:
        for probe in self.evaluate.probes:
            if probe.needs_divisor and not self.optimizer.preconditioned:
                raise ValueError(
                    f"evaluate.probes: {probe.probe} is defined for optimizers that divide the gradient by a vector "
                    f"that is known, not for {self.optimizer.method}; take {', '.join(_PRECONDITIONED)}"
                )
        return self

    @model_validator(mode="after")
    def _noise_is_of_its_data(self) -> Self:
        if self.augment is not None and self.data.source == "denoising":
            if self.augment.noise is None:
                raise ValueError("augment: images of denoising data can't be shifted or flipped; leave augment out")
        elif self.augment is not None and self.augment.noise is not None:
            raise ValueError(f"augment.noise: is for denoising data, not for {self.data.source}; leave it out")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> Self:
        if not self.optimizer.averages:
            return self
        if self.averaging is not None:
            raise ValueError(f"averaging: {self.optimizer.method} averages the weights by itself; leave averaging out")
        if self.schedule.momentum(0, 1) is not None:
            raise ValueError(f"schedule.momenta: {self.optimizer.method} averages by its momentum; leave momenta out")
        return self

    @model_validator(mode="after")
    def _branch_ends_after_its_start(self) -> Self:
        if self.branched_at is not None and (self.steps is None or self.branched_at >= self.steps):
            raise ValueError(f"branched_at: a branch that leaves after {self.branched_at} steps needs more `steps`")
        return self

    @model_validator(mode="after")
    def _parametrization_fits(self) -> Self:
        if self.parametrization is not None:
            family_of(self.optimizer)
            self.parametrization.growth(self.net)
            for name, given in (("init.meta", self.net.init.meta), ("grad_init", self.grad_init)):
                if given is not None:
                    raise ValueError(f"parametrization: it sets the norms of weights, as {name} does; leave {name} out")
        if self.grad_init is not None and self.net.own_code:
            raise ValueError(f"grad_init: it is for the networks of landsweep, not for {self.net.family}; leave it out")
        return self

    def build(self, shape: tuple[int, ...], classes: int, folder: Path = Path()) -> nn.Module:
        """The module with its initial weights, as `Net.build`, of the size that the parametrization gives them."""
        module = self.net.undrawn(shape, classes, generator(self.seed, "init"), folder)
        self.draw(module, shape, classes)
        return module

    def draw(self, module: nn.Module, shape: tuple[int, ...], classes: int) -> None:
        """Give a module of `Net.undrawn` the initial weights of `build`, in place."""
        self.net.draw(module, shape, generator(self.seed, "init"))
        if (scheme := self._scaling()) is not None:
            rescale(module, scheme, self.net, self.optimizer, shape, classes)

    def factors(self, shape: tuple[int, ...], classes: int) -> Factors | None:
        """For each tensor, what the parametrization multiplies the optimizer's coefficients by."""
        scheme = self._scaling()
        return None if scheme is None else factors(scheme, self.net, self.optimizer, shape, classes)

    def loss_on(self, data: Data) -> LossName:
        """The loss that this recipe means for its data.

        Raises:
            SpecError: it needs classes, and the data has none.
        """
        name: LossName = ("cross_entropy" if data.classes else "mse") if self.loss == "auto" else self.loss
        if name in OF_CLASSES and not data.classes:
            raise SpecError(f"loss: {name} needs classes, but this data has other targets; use mse or auto")
        for term in ("z_loss", "label_smoothing"):
            if (value := getattr(self, term)) and name != "cross_entropy":
                raise SpecError(f"{term}: {value:g} is of cross_entropy, but the loss is {name}; leave it out")
        if self.trajectory is not None and (name != "cross_entropy" or data.sequence):
            raise SpecError("trajectory: it is of cross_entropy with one class for each sample; leave it out")
        return name

    def training_loss(self, data: Data) -> TrainingLoss:
        """What training lowers on this data; see `loss_on`."""
        terms = self.loss_on(data), self.z_loss, self.label_smoothing
        return TrainingLoss(*terms) if self.trajectory is None else TrajectoryLoss(*terms, self.trajectory)

    def _scaling(self) -> Parametrization | None:
        """The parametrization; None where it changes nothing: the standard one of a network without a width."""
        scheme = self.parametrization
        return None if isinstance(scheme, Standard) and self.net.current_width() is None else scheme

    @property
    def skips(self) -> bool:
        """Whether steps may be left out, which rows then count."""
        return self.precision == "fp16" or self.on_spike == "skip"

    def pinned(self, folder: Path) -> Self:
        """This recipe with data files pinned by digest; as it is, where they are absent or there are none."""
        try:
            return self.model_copy(update={"data": self.data.pinned(folder)})
        except SpecError:
            return self

    def pack_key(self) -> str:
        """Digest of all that changes shapes, code path or calendar: recipes with equal keys can train as one pack.

        What is left out may differ within a pack: learning rate, weight decay, momentum, betas, eps, the schedule,
        clipping, initialisation, parametrization, label noise, seed, the probability of dropout, and, where every batch
        is full and nothing counts epochs, the share of the training data.
        """
        free = {"optimizer", "schedule", "clip", "parametrization", "label_noise", "seed", "net", "train_fraction"}
        shared = by_content(self.model_dump(mode="json", exclude=free))
        if self.epochs is not None or not self.drop_last or self._counts_epochs():
            shared["train_fraction"] = self.train_fraction
        return digest([shared, self.net.structure(), self.optimizer.key()], size=8)

    def _counts_epochs(self) -> bool:
        policy = self.checkpoints
        return bool(self.evaluate.every_epochs or policy.every_epochs or policy.at_epochs)
