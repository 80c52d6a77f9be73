"""Whether the types of a network's layers say all of what it computes: asked before it is read instead of called."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn
from torch.nn.modules import module as global_hooks

__all__ = ["altered", "misread"]

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_GLOBAL = tuple(f"_global{name}" for name in _HOOKS)
_TENSORS = frozenset({"weight", "bias"})


def altered(name: str, layer: nn.Module) -> str | None:
    """What makes a layer compute something else than its type says; None: nothing does.

    Args:
        name: of the layer, for the message.
        layer: of any type.
    """
    if any(getattr(layer, hooks) for hooks in _HOOKS):
        return f"{name} has a hook"
    if any(p._backward_hooks for p in layer.parameters(recurse=False)):
        return f"a parameter of {name} has a hook"
    if replaced := [k for k in vars(layer) if callable(getattr(type(layer), k, None))]:
        return f"{name} has its own `{replaced[0]}`, set on this one object"
    return None


def misread(module: nn.Module, layers: Collection[type[nn.Module]]) -> str | None:
    """Why the network may not be a chain of plain layers; None: no reason was found.

    A chain is made of `nn.Sequential` and of layers of exactly the given types, each of them used once, with weights of
    its own, and without hooks, parametrizations or a `forward` of its own. Subclasses may compute anything.

    Args:
        module: the network.
        layers: types of layers that the reader knows.
    """
    return next(_reasons(module, layers), None)


def _reasons(module: nn.Module, layers: Collection[type[nn.Module]]) -> Iterator[str]:
    if any(getattr(global_hooks, hooks) for hooks in _GLOBAL):
        yield "there are hooks on all modules (register_module_forward_hook and its like)"
    used: set[int] = set()
    for path, part in module.named_modules(remove_duplicate=False):
        name = path or "the network"
        tensors = dict(part.named_parameters(recurse=False, remove_duplicate=False))
        if type(part) is nn.Sequential:
            yield from (f"{name} has a parameter of its own, {n}" for n in tensors)
        else:
            yield from _odd_layer(name, part, layers)
        if change := altered(name, part):
            yield change
        for identity, what in ((id(part), name), *((id(p), f"{name}.{n}") for n, p in tensors.items())):
            if identity in used:
                yield f"{what} is used in two places"
            used.add(identity)


def _odd_layer(name: str, layer: nn.Module, layers: Collection[type[nn.Module]]) -> Iterator[str]:
    if type(layer) not in layers:
        yield f"it has no rule for {type(layer).__name__}"
    if next(layer.children(), None) is not None:
        yield f"{name} has layers inside"
    for n, _ in layer.named_parameters(recurse=False):
        if n not in _TENSORS:
            yield f"{name} has a further parameter, {n}"
