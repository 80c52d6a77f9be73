"""What computes a pack: the modules of its models, their stack, their samples and masks, and the back-end."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.grad_init import learn_factors
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.models.fit import check_fit
from landsweep.sweeps.lab.models.own import OwnNet
from landsweep.sweeps.lab.models.transformer import Block
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import Backend, Unserved
from landsweep.sweeps.lab.training.dropout import Masks, with_masks
from landsweep.sweeps.lab.training.habits import habits_of
from landsweep.sweeps.lab.training.initial import Model, drawn
from landsweep.sweeps.lab.training.linearised import cannot_linearise, not_convex
from landsweep.sweeps.lab.training.micro_batches import cannot_split, has_batch_norm
from landsweep.sweeps.lab.training.recompute import cannot_recompute, fuse_attention, recompute_blocks
from landsweep.sweeps.lab.training.samples import Samples
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.streamed import samples_of

__all__ = ["Assembly", "assemble", "check_settings", "dtype_of", "layers_of", "module_of"]


@dataclass(frozen=True, slots=True)
class Assembly:
    """All that gradients of a pack are computed with.

    Attributes:
        samples: which samples each model sees in each step.
        masks: of dropout, in each step.
        stack: weights and buffers of the models.
        program: the back-end, bound to the stack.
        loss: that training lowers.
    """

    samples: Samples
    masks: Masks
    stack: Stack
    program: Backend
    loss: TrainingLoss


def assemble(recipes: Sequence[Recipe], data: Data, backend: type[Backend], device: str, base: Path) -> Assembly:
    """Put together what computes the models of these recipes, at their initial weights.

    Raises:
        SpecError: the recipes do not fit the data, or the back-end can't serve the network.
    """
    first = recipes[0]
    check_fit(first.net, data, base)
    with _no_collections():
        models = _models(recipes, data, base, alone=backend.own_modules)
    modules = [model.module for model in models]
    check_settings(first, modules[0])
    loss = first.training_loss(data)
    if first.optimizer.linearises and (why := not_convex(loss)):
        raise SpecError(f"{why}, and {first.optimizer.method} needs one; take cross_entropy or mse")
    if reason := backend.lacks(first) or backend.serves(modules[0]):
        raise Unserved(backend.name, reason)
    samples = samples_of(recipes, data, backend.place())
    inputs, targets = samples.batch(0)
    # What is tried out on a user's network may leave traces in it (counters, caches), so that needs one to throw away.
    spare = module_of(first, data, base) if isinstance(first.net, OwnNet) else modules[0]
    habits = habits_of(first, spare, inputs[0], targets[0], loss)
    if habits.draws and not backend.own_modules:
        raise Unserved(backend.name, "it draws random numbers outside of nn.Dropout")
    batch = samples.inputs[: first.batch_size]
    masks = Masks(modules, recipes, batch, dtype_of(first), spare)
    stack = backend.stack_of(modules, device, habits.idle, [model.tensors for model in models])
    if first.bf16_weights:
        stack.round_to_bf16()
    program = backend(stack, modules, loss)
    program.precision, program.compile = first.precision, first.compile
    for module in {id(m): m for m in modules}.values():
        if first.recompute:
            recompute_blocks(module, draws=habits.draws)
        if first.attention == "fused":
            fuse_attention(module)
    return Assembly(samples, masks, stack, program, loss)


def check_settings(recipe: Recipe, module: nn.Module) -> None:
    """Refuse settings of memory that a network can't follow, going by its layers.

    Raises:
        SpecError: so it is; names the setting.
    """
    if recipe.micro_batch is not None and recipe.micro_batch < recipe.batch_size and (why := cannot_split(module)):
        raise SpecError(f"micro_batch: {why}; leave it out")
    if recipe.bf16_weights and (why := has_batch_norm(module)):
        raise SpecError(f"bf16_weights: {why} keeps statistics beside its weights, which are in float32; leave it out")
    if recipe.recompute and (why := cannot_recompute(module)):
        raise SpecError(f"recompute: {recipe.net.family}: {why}; leave it out")
    if recipe.optimizer.linearises and (why := cannot_linearise(module)):
        raise SpecError(f"optimizer: {recipe.optimizer.method} can't train {recipe.net.family}: {why}")
    if recipe.attention == "fused" and not any(isinstance(m, Block) for m in module.modules()):
        raise SpecError(f"attention: {recipe.net.family} has none that could be fused; leave it out")


def dtype_of(recipe: Recipe) -> torch.dtype:
    """The type of a recipe's weights."""
    return torch.float64 if recipe.dtype == "float64" else torch.float32


def module_of(recipe: Recipe, data: Data, base: Path) -> nn.Module:
    """A recipe's network with masks for dropout."""
    module, dtype = recipe.build(data.shape, data.outputs, base), dtype_of(recipe)
    if recipe.net.own_code or dtype != torch.float32:  # else it has the type already, and `to` takes a while to see it
        module = module.to(dtype)
    if recipe.grad_init is not None:
        samples = samples_of([recipe], data)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            inputs, targets = samples.batch(step)
            return inputs[0].cpu(), targets[0].cpu()

        learn_factors(module, batch, recipe.training_loss(data), recipe.grad_init)
    return with_masks(module)


def layers_of(recipe: Recipe, data: Data, base: Path) -> nn.Module:
    """The same for questions about layers, names and shapes: only a network of the user's own code gets weights."""
    if recipe.net.own_code:
        return module_of(recipe, data, base)
    return with_masks(recipe.net.skeleton(data.shape, data.outputs))


def _decides(recipe: Recipe) -> set[str]:
    """Fields that the initial weights depend on, among those that may differ within a pack."""
    drawn = {"net", "parametrization", "seed"}
    return drawn if recipe.grad_init is None else {*drawn, "train_fraction", "label_noise"}


@contextmanager
def _no_collections() -> Iterator[None]:
    """Hundreds of new modules have Python look for garbage over and over, which takes as long as building them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _models(recipes: Sequence[Recipe], data: Data, base: Path, *, alone: bool) -> list[Model]:
    """A model for each recipe; where modules need not stand alone, one may serve many."""
    keys: list[object] = [i if alone else r.model_dump_json(include=_decides(r)) for i, r in enumerate(recipes)]
    distinct = dict(zip(reversed(keys), reversed(recipes), strict=True))
    distinct = {key: distinct[key] for key in dict.fromkeys(keys)}
    models: dict[object, Model] = {}
    if not alone:
        models = drawn(distinct, data, base, lambda recipe: module_of(recipe, data, base), dtype_of(recipes[0]))
    owners = {id(model.module) for model in models.values()}
    for key, recipe in distinct.items():
        if key not in models:
            models[key] = Model.of(module_of(recipe, data, base))
            if id(models[key].module) in owners:
                raise SpecError("net: the function that builds the network gave the same module twice; build a new one")
            owners.add(id(models[key].module))
    return [models[key] for key in keys]
