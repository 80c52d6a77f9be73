"""Tables of tensors: how each one of a recipe's network is drawn and trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.parametrization import Standard, TensorLine, plain_lines, tensor_lines
from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["tensor_tables"]

_HEADER = ("tensor", "shape", "role", "init std", "multiplier", "learning rate", "weight decay", "eps")


def tensor_tables(recipes: Iterable[Recipe], bench: Workbench) -> list[Table]:
    """A table for each network, parametrization and optimizer among the recipes, with the settings of the first.

    Args:
        recipes: in order.
        bench: with the folder that relative paths start from.

    Raises:
        SpecError: a network's tensors or an optimizer's steps are unknown; says which are known.
    """
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}
    tables: dict[str, Table] = {}
    for recipe in recipes:
        scheme = recipe.parametrization or Standard(scheme="standard")
        net = recipe.net.model_dump(mode="json")
        identity = canonical([net, scheme.model_dump(mode="json"), recipe.optimizer.method])
        if identity in tables:
            continue
        source = canonical(recipe.data.model_dump(mode="json"))
        if source not in shapes:
            data = recipe.data.load(bench.folder)
            shapes[source] = data.shape, data.outputs
        if recipe.net.current_width() is None:
            module = recipe.build(*shapes[source], bench.folder)
            lines = plain_lines(module, recipe.optimizer)
        else:
            lines = tensor_lines(scheme, recipe.net, recipe.optimizer, *shapes[source])
        cells = [_cells(line) for line in lines]
        tables[identity] = Table(_caption(net, scheme.model_dump(mode="json"), recipe.optimizer.method), _HEADER, cells)
    return list(tables.values())


def _cells(line: TensorLine) -> list[object]:
    shape = "x".join(map(str, line.shape)) or "1"
    numbers = (line.init_std, line.multiplier, line.learning_rate, line.weight_decay)
    return [line.name, shape, line.role, *numbers, "-" if line.eps is None else line.eps]


def _caption(net: Mapping[str, object], scheme: Mapping[str, object], method: str) -> str:
    sizes = ", ".join(f"{k} {net[k]}" for k in ("hidden", "channels", "width", "depth", "heads") if k in net)
    base = [f"{k} {scheme[k]}" for k in ("base_width", "base_depth", "base_heads") if scheme.get(k) is not None]
    bases = f" ({', '.join(base)})" if base and scheme["scheme"] != "standard" else ""
    name = f"{net['net']} {net['function']}" if "function" in net else f"{net['net']} ({sizes})"
    return f"{name}, {scheme['scheme']}{bases}, {method}. The network uses multiplier x tensor."
