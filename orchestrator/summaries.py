"""What each registered kind computes, read from its source, so that to list kinds no torch is imported."""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

__all__ = ["GROUP", "summaries"]

GROUP = "landsweep.kinds"


def summaries() -> dict[str, str]:
    """The attribute `summary` of all registered kinds by name; a kind that computes its own is imported for it."""
    entries = sorted(entry_points(group=GROUP), key=lambda e: e.name)
    return {e.name: _written(e) or e.load().summary for e in entries}


def _written(entry: EntryPoint) -> str | None:
    """The text that the class assigns to `summary`; None where the module does so in any other way, or twice."""
    module = find_spec(entry.module)
    if module is None or module.origin is None or not module.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(module.origin).read_bytes())
    texts = [
        text
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == entry.attr and not node.decorator_list
        for statement in node.body
        if (text := _summary(statement)) is not None
    ]
    return texts[0] if len(texts) == 1 == sum(map(_names_it, ast.walk(tree))) else None


def _names_it(node: ast.AST) -> bool:
    """Whether this gives a value to something called `summary`."""
    match node:
        case ast.Name(id="summary", ctx=ast.Store()) | ast.Attribute(attr="summary", ctx=ast.Store()):
            return True
    return False


def _summary(node: ast.stmt) -> str | None:
    match node:
        case (
            ast.Assign(targets=[ast.Name(id="summary")], value=ast.Constant(value=str(text)))
            | ast.AnnAssign(target=ast.Name(id="summary"), value=ast.Constant(value=str(text)))
        ):
            return text
    return None
