"""Proof that a back-end computes what the network itself computes: on first batches, at initial weights.

A back-end is another program for the same function, so it is never trusted for what it says of itself: losses,
gradients, buffers and outputs of three models with different seeds are compared with those of their modules, each alone
in a plain autograd loop, on samples of the first two batches. Both see the same samples and the same masks of dropout.

They add the same numbers in another order, so equal they are only to rounding, and how large that is depends on the
network: sums over a batch of B samples and layers of n inputs are off by about sqrt(B n) units in the last place, and a
rounded activation that falls on the other side of a kink moves a whole sample. So they are compared twice. In double
precision both are next to nothing, and a relative difference of 1e-8 is another function. In the recipe's own precision
1e-3 is allowed, for operations that go wrong in one precision only, and networks that know no other. Differences of a
gradient are relative to the norm of the tensor's, or to a thousandth of the whole gradient's where that is more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.schedules import Constant
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.streams import seeded, stream
from landsweep.sweeps.lab.training.assembly import Assembly, assemble, check_settings, layers_of, module_of
from landsweep.sweeps.lab.training.backends import BACKENDS, Backend, Loop, Unserved, backend_named
from landsweep.sweeps.lab.training.draws import counted
from landsweep.sweeps.lab.training.dropout import mask_names
from landsweep.sweeps.lab.training.micro_batches import in_parts
from landsweep.sweeps.lab.training.stepper import Stepper
from landsweep.sweeps.lab.training.streamed import samples_of

__all__ = ["PackFacts", "check_backend", "check_name", "disagreement", "exact_rows", "facts", "prove_backend"]

_MODELS = 3
_STEPS, _RATE = 3, 1e-3  # steps after which they are compared; whichever recipe of a pack asks, they must not diverge
_ROWS = 5  # of the pack in which a model's bits are compared with those it has among fewer
_ALLOWED = {"own": 1e-3, "double": 1e-8}  # relative difference, by precision
_SMALL = 1e-3  # share of the whole gradient, or of all buffers, that a tensor's difference is compared with at least
_GRADIENT, _BUFFER = "the gradient of ", "the buffer "
PackFacts: TypeAlias = tuple[str, str, str, tuple[int, ...], int]
"""All that a proof depends on, beside the back-end; see `facts`."""

# What was proved in this process. A proof takes as long as some 20 steps, and every pack asks for it; it depends on its
# key and the code of the process alone, so that the answer is the same whoever has asked.
_VERDICTS: dict[tuple[str, PackFacts], str | None] = {}
_EXACT: dict[tuple[str, PackFacts], bool] = {}


def check_name(backend: str, recipe: Recipe) -> None:
    """Refuse the name of a back-end that there is not, or that can't train with the optimizer of a recipe.

    Raises:
        SpecError: so it is.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise SpecError(f"backend: there is no back-end {backend!r}; there are auto, {', '.join(BACKENDS)}")
    if isinstance(recipe.optimizer, NamedClass) and backend not in ("auto", "loop"):
        raise SpecError(f"optimizer.method: class trains in the back-end loop only, not in {backend}; use loop or auto")


def check_backend(backend: str, recipe: Recipe, data: Data, base: Path = Path()) -> None:
    """Refuse a back-end, or `auto`, that can't train a recipe, going by its optimizer and the layers of its network.

    Raises:
        SpecError: there is none of this name, or it serves another optimizer or network.
    """
    check_name(backend, recipe)
    layers = layers_of(recipe, data, base)
    check_settings(recipe, layers)
    if backend in ("auto", "loop"):
        return
    if reason := BACKENDS[backend].lacks(recipe) or BACKENDS[backend].serves(layers):
        raise Unserved(backend, reason)


def prove_backend(backend: str, recipe: Recipe, data: Data, device: str = "cpu", base: Path = Path()) -> None:
    """Refuse a back-end that computes something else than the recipe's network; proved once for each pack key.

    Raises:
        SpecError: it does; says what differs.
    """
    if reason := disagreement(backend_named(backend), recipe, data, device, base):
        raise Unserved(backend, reason)


@settings_kept()
def disagreement(backend: type[Backend], recipe: Recipe, data: Data, device: str, base: Path) -> str | None:
    """What a back-end computes differently from the network itself; None: nothing, but for rounding.

    Asked once per process for each pack key. The loop calls the network itself, so it is asked for own networks only.

    Args:
        backend: that serves the network, going by its layers.
        recipe: any with the pack key.
        data: of the recipe, on the device.
        device: `cpu` or `cuda:0`.
        base: folder that relative paths start from.
    """
    if issubclass(backend, Loop) and not isinstance(recipe.net, OwnNet):
        return None
    key = backend.name, facts(recipe, data, device, base)
    if key not in _VERDICTS:
        _VERDICTS[key] = _verdict(backend, *_small(recipe, data), device, base)
    return _VERDICTS[key]


@settings_kept()
def exact_rows(backend: type[Backend], recipe: Recipe, data: Data, device: str, base: Path) -> bool:
    """Whether a model's bits do not depend on the number of models beside it: by its layers, and as tried out.

    Never with several threads: torch divides large arrays among them at places that depend on the number of models, and
    the few models that are tried out are too small for that. Arguments as of `disagreement`.
    """
    if issubclass(backend, Loop):
        return True
    if recipe.precision != "float32" or (device == "cpu" and torch.get_num_threads() > 1):
        return False
    key = backend.name, facts(recipe, data, device, base)
    if key not in _EXACT:
        claimed = backend.exact_rows(layers_of(recipe, data, base))
        few, batches = _small(recipe, data)
        rate = few.optimizer.model_copy(update={"learning_rate": _RATE})
        calm = few.model_copy(update={"optimizer": rate, "schedule": Constant(shape="constant")})
        _EXACT[key] = claimed and _same_bits(_siblings(calm, _ROWS), batches, backend, device, base)
    return _EXACT[key]


def facts(recipe: Recipe, data: Data, device: str, base: Path) -> PackFacts:
    """What recipes with this pack key have in common where they train, as a key to remember it by."""
    return recipe.pack_key(), device, str(base.resolve()), tuple(data.shape), data.outputs


def _small(recipe: Recipe, data: Data) -> tuple[Recipe, Data]:
    """The recipe on the samples of its first two batches alone: what follows copies and casts them."""
    samples = samples_of([recipe], data)
    batches = [samples.batch(step) for step in range(2)]
    split = Split(*(torch.cat([batch[i][0] for batch in batches]) for i in range(2)))
    as_drawn = {"train_fraction": 1.0, "label_noise": 0.0, "augment": None, "precision": "float32"}
    as_drawn |= {"bf16_weights": False, "grad_init": None}
    return recipe.model_copy(update=as_drawn), Data({recipe.split: split}, data.classes, data.shape)


def _siblings(recipe: Recipe, models: int) -> list[Recipe]:
    return [recipe.model_copy(update={"seed": recipe.seed + i}) for i in range(models)]


def _same_bits(recipes: Sequence[Recipe], data: Data, backend: type[Backend], device: str, base: Path) -> bool:
    """Whether two of the models have the same weights after some steps, and outputs, alone and together as among all.

    Steps are made too, since methods that multiply matrices of their own may do so in an order that depends on K.
    """

    def computed(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = [recipes[row] for row in rows]
        assembly = assemble(chosen, data, backend, device, base)
        stepper = Stepper(assembly, chosen, data, _STEPS)
        for _ in range(_STEPS):
            stepper.make_step()
        inputs = assembly.samples.inputs[: recipes[0].batch_size]
        return assembly.stack.weights, assembly.program.outputs(inputs)

    whole, two, one = (computed(rows) for rows in (range(len(recipes)), (1, len(recipes) - 1), (len(recipes) - 1,)))
    return all(
        torch.equal(a[1], b[0]) and torch.equal(a[-1], b[1]) and torch.equal(b[1], c[0])
        for a, b, c in zip(whole, two, one, strict=True)
    )


def _verdict(backend: type[Backend], recipe: Recipe, data: Data, device: str, base: Path) -> str | None:
    if recipe.dtype == "float64":
        return _difference(backend, recipe, data, device, base, _ALLOWED["double"], 0)
    difference = _difference(backend, recipe, data, device, base, _ALLOWED["own"], 0)
    if backend.compiles:
        return difference
    double = recipe.model_copy(update={"dtype": "float64"})
    try:
        _references(_siblings(double, 1), data, device, base, 0)
    except (RuntimeError, TypeError, ValueError, SpecError) as e:  # a network that knows its own precision only
        if of_the_machine(e):
            raise
        return difference
    if difference is not None and _difference(backend, recipe, data, device, base, _ALLOWED["own"], 1) is not None:
        return difference  # not a kink that one batch met
    return _difference(backend, double, data, device, base, _ALLOWED["double"], 0)


def _difference(
    backend: type[Backend], recipe: Recipe, data: Data, device: str, base: Path, largest: float, step: int
) -> str | None:
    """The first difference above what is allowed, in words."""
    recipes = _siblings(recipe, _MODELS)
    wanted = _references(recipes, data, device, base, step)
    try:
        assembly = assemble(recipes, data, Loop if backend.gang else backend, device, base)
        assembly.program.seeds = lambda: [_seed(r, step) for r in recipes]
        given = _computed(assembly, step, _part(recipe, backend))
    except Unserved as e:
        return e.reason
    except (RuntimeError, NotImplementedError) as e:
        if of_the_machine(e):
            raise
        lines = str(e).strip().splitlines()
        return f"it can't be computed as a stack ({lines[0] if lines else type(e).__name__})"
    for ours, theirs in zip(given, wanted, strict=True):
        if odd := [n for n in theirs if n not in ours]:
            return f"{odd[0]} is missing"
        sizes = {n: float(t.double().norm()) for n, t in theirs.items()}
        for name, t in theirs.items():
            # A tensor that is tiny beside its group may be all rounding, so a share of the group's size is the least.
            group = next((g for g in (_GRADIENT, _BUFFER) if name.startswith(g)), name)
            floor = _SMALL * math.hypot(*(size for n, size in sizes.items() if n.startswith(group)))
            gap = _gap(ours[name], t, floor)
            if not gap <= largest:
                way = "" if recipe.micro_batch is None else f", with micro_batch {recipe.micro_batch},"
                way = ", computed on parts of a batch," if backend.gang else way
                return f"{name} differs{way} from that of the network itself by {gap:.2g} of its size"
    return None


def _part(recipe: Recipe, backend: type[Backend]) -> int | None:
    """Of how many samples the parts of a batch are; a gang is rehearsed by computing two parts one after the other."""
    half = math.ceil(recipe.batch_size / 2)
    return min(recipe.micro_batch or half, half) if backend.gang else recipe.micro_batch


def _gap(ours: Tensor, theirs: Tensor, floor: float) -> float:
    """Size of the difference over that of the reference; values that are not finite in both are equal."""
    a, b = ours.detach().double().cpu(), theirs.detach().double().cpu()
    if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
        return math.inf
    both = a.isfinite()
    apart = float((a[both] - b[both]).norm())
    return 0.0 if apart == 0 else apart / max(float(b[both].norm()), floor, 1e-30)


def _computed(assembly: Assembly, step: int, part: int | None) -> list[dict[str, Tensor]]:
    """What a back-end gives for each model, by name; of batches in parts of so many samples, if that is given."""
    inputs, targets = assembly.samples.batch(step)
    shared = assembly.samples.inputs[: inputs.shape[1]].clone()
    outputs = assembly.program.outputs(shared)
    grads = torch.empty_like(assembly.stack.weights)
    masks = assembly.masks.draw(step, inputs.shape[1])
    losses = in_parts(assembly.program.gradients, part, inputs, targets, masks, grads)
    split = assembly.stack.layout.split(grads)
    return [
        {"the loss": losses[k], "the output": outputs[k]}
        | {_GRADIENT + n: g[k] for n, g in split.items()}
        | {_BUFFER + n: b[k] for n, b in assembly.stack.buffers.items()}
        for k in range(len(losses))
    ]


def _references(recipes: Sequence[Recipe], data: Data, device: str, base: Path, step: int) -> list[dict[str, Tensor]]:
    """The same of each network alone, by autograd; with no weight in common, as they are built one after the other."""
    assembly = assemble(recipes, data, Loop, device, base)
    inputs, targets = assembly.samples.batch(step)
    masks = assembly.masks.draw(step, inputs.shape[1])
    shared = assembly.samples.inputs[: inputs.shape[1]]
    rows = []
    for k, recipe in enumerate(recipes):
        with settings_kept():  # what one network sets is not for the next
            module = module_of(recipe, data, base).to(device)
            with torch.no_grad():
                row = {"the output": module.eval()(shared.clone())}
            module.train()
            for name, mask in masks.items():
                module.get_buffer(name).data = mask[k]
            with seeded(_seed(recipe, step), device):
                outputs: Tensor = module(inputs[k].clone())
            loss = assembly.loss(outputs[None], targets[k : k + 1]).mean()
            leaves = {n: p for n, p in module.named_parameters() if p.requires_grad}
            grads: Sequence[Tensor | None] = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            given = {n: g for n, g in zip(leaves, grads, strict=True) if g is not None}
            tensors: dict[str, Tensor] = {**dict(module.named_buffers()), **dict(module.named_parameters())}
            still = {n: t for n, t in tensors.items() if n not in given and n not in mask_names(module)}
            row |= {"the loss": loss.detach()} | {_GRADIENT + n: g for n, g in given.items()}
            rows.append(row | {_BUFFER + n: t.detach() for n, t in still.items()})
    return rows


def _seed(recipe: Recipe, step: int) -> int:
    """Of the global random states, for networks that draw from them."""
    return counted(stream(recipe.seed, "dropout"), step)
