"""Steps of optimizers that are classes of torch's kind, the user's own among them: an object for each model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.streams import counted, restart, seeded, stream
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, Updater

__all__ = ["ClassUpdater"]

_TRIED = 3  # steps before and after a trial's optimizer is stored


class ClassUpdater(Updater):
    """An optimizer object for each model, of any class: of the back-end `loop`.

    What an optimizer draws comes from a stream of its model's seed, whatever else the process draws.

    Args:
        methods: settings of each model.
        stack: of the models.
        seeds: of the models.

    Raises:
        SpecError: a class keeps what can't be stored.
    """

    forgets: ClassVar[bool] = False  # a class of the user's may keep them

    def __init__(self, methods: Sequence[NamedClass], stack: Stack, seeds: Sequence[int]) -> None:
        self._roots = [stream(seed, "optimizer") for seed in seeds]
        self._parameters = [[p.detach().requires_grad_() for p in own] for own in _views(stack)]
        for method in {repr(m.args): m for m in methods}.values():
            _refuse_unkept(method, self._parameters[0])
        self._optimizers = [m.make(p) for m, p in zip(methods, self._parameters, strict=True)]

    def step(self, stack: Stack, gradients: Gradients, rates: Rates, step: int, skip: Sequence[int] = ()) -> None:
        parts = stack.layout.split(gradients.rows)
        momenta = rates.momenta(step)
        device = stack.weights.device
        with seeded(0, device):
            for k, (optimizer, rate) in enumerate(zip(self._optimizers, rates.learning_rates(step), strict=True)):
                if k in skip:
                    continue
                for p, g in zip(self._parameters[k], parts.values(), strict=True):
                    p.grad = g[k]
                for group in optimizer.param_groups:
                    group["lr"] = rate
                    if momenta[k] is not None and "momentum" in group:
                        group["momentum"] = momenta[k]
                    elif momenta[k] is not None and "betas" in group:
                        group["betas"] = (momenta[k], *group["betas"][1:])
                restart(counted(self._roots[k], step), device)
                with settings_kept():  # other models of the pack may have other arguments
                    optimizer.step()

    def take(self, keep: Tensor, stack: Stack) -> None:
        chosen = keep.tolist()
        self._roots = [self._roots[k] for k in chosen]
        self._optimizers = [self._optimizers[k] for k in chosen]
        self._parameters = [self._parameters[k] for k in chosen]
        # The same optimizers with the same parameters, whose memory is that of the new stack.
        for own, views in zip(self._parameters, _views(stack), strict=True):
            for p, view in zip(own, views, strict=True):
                p.data = view

    def state(self) -> dict[str, Tensor]:
        return {f"class/{k}/{n}": t for k, o in enumerate(self._optimizers) for n, t in _stored(o).items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        each: list[dict[str, Tensor]] = [{} for _ in self._optimizers]
        for key, tensor in state.items():
            _, k, name = key.split("/", 2)
            each[int(k)][name] = tensor
        for optimizer, stored in zip(self._optimizers, each, strict=True):
            _restore(optimizer, stored)


def _views(stack: Stack) -> list[list[Tensor]]:
    """The parameters of each model, in the memory of the stack."""
    views = stack.layout.split(stack.weights)
    return [[v[k].detach() for v in views.values()] for k in range(len(stack))]


def _refuse_unkept(method: NamedClass, parameters: Sequence[Tensor]) -> None:
    """Try out whether an optimizer goes on as it would have after it was stored and restored.

    Args:
        method: names the class.
        parameters: of one model.

    Raises:
        SpecError: it does not, or what it keeps can't be stored.
    """
    try:
        alike = _goes_on_alike(method, [[min(n, 3) for n in p.shape] for p in parameters], parameters[0])
    except (RuntimeError, ValueError, IndexError):  # it takes none that are so small
        alike = _goes_on_alike(method, [list(p.shape) for p in parameters], parameters[0])
    if not alike:
        raise SpecError(
            f"optimizer.name: {method.name} goes on otherwise once it was stored and restored: its steps depend on "
            "what is not in its state_dict. Keep that in self.state[parameter] or in the param_groups, as tensors, "
            "numbers, texts or lists"
        )


def _goes_on_alike(method: NamedClass, sizes: Sequence[Sequence[int]], like: Tensor) -> bool:
    """Whether an optimizer of parameters of these sizes makes the same steps after it was stored and restored."""
    source = torch.Generator().manual_seed(0)

    def drawn() -> list[Tensor]:
        return [torch.randn(list(size), generator=source).to(like) for size in sizes]

    first = [p.detach().requires_grad_() for p in drawn()]
    grads = [drawn() for _ in range(2 * _TRIED)]
    optimizer = method.make(first)
    with seeded(0, first[0].device):
        for t in range(_TRIED):
            _trial_step(optimizer, first, grads[t], t)
        second = [p.detach().clone().requires_grad_() for p in first]
        other = method.make(second)
        _restore(other, {name: tensor.clone() for name, tensor in _stored(optimizer).items()})
        for t in range(_TRIED, 2 * _TRIED):
            _trial_step(optimizer, first, grads[t], t)
            _trial_step(other, second, grads[t], t)
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second, strict=True))


def _trial_step(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], grads: Sequence[Tensor], step: int
) -> None:
    for p, g in zip(parameters, grads, strict=True):
        p.grad = g.clone()
    restart(step, parameters[0].device)
    with settings_kept():
        optimizer.step()


def _stored(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer keeps from step to step, as tensors: of its state all, of its groups what it can.

    Raises:
        SpecError: something in its state is of a type that can't be stored.
    """
    tensors: dict[str, Tensor] = {}
    content = optimizer.state_dict()
    for i, slots in content["state"].items():
        for name, value in slots.items():
            if (pair := _as_tensor(value)) is None:
                raise SpecError(
                    f"optimizer: {type(optimizer).__name__} keeps {name}, a {type(value).__name__}, in its state; what "
                    "training can store in the middle are tensors, numbers, texts and lists of them"
                )
            tensors[f"state/{i}/{pair[0]}/{name}"] = pair[1]
    for i, group in enumerate(content["param_groups"]):
        for name, value in group.items():
            if name != "params" and value is not None and (pair := _as_tensor(value)) is not None:
                tensors[f"group/{i}/{pair[0]}/{name}"] = pair[1]
    return tensors


def _restore(optimizer: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> None:
    """Go on from what `_stored` gave."""
    content = optimizer.state_dict()
    for key, tensor in stored.items():
        part, i, kind, name = key.split("/", 3)
        value = _OF_TENSOR[kind](tensor)
        if part == "state":
            content["state"].setdefault(int(i), {})[name] = value
        else:
            content["param_groups"][int(i)][name] = value
    optimizer.load_state_dict(content)


def _as_tensor(value: Any) -> tuple[str, Tensor] | None:  # noqa: ANN401 - whatever an optimizer keeps
    """The name of a value's type, and a tensor of it; None where there is none that gives it back."""
    if isinstance(value, Tensor):
        return "tensor", value
    if isinstance(value, bool | int | float):
        return type(value).__name__, torch.tensor(value, dtype=torch.float64)
    try:
        text = json.dumps(value)
        if json.loads(text) != value:
            return None
    except (TypeError, ValueError):
        return None
    return "json", torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


_OF_TENSOR: Mapping[str, Callable[[Tensor], Any]] = {
    "tensor": lambda t: t,
    "bool": lambda t: bool(t.item()),
    "int": lambda t: int(t.item()),
    "float": lambda t: float(t.item()),
    "json": lambda t: json.loads(bytes(t.tolist())),
}
