"""The commands `kinds` and `new`: what a spec may hold, and one to begin with. Libraries are imported when run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from landsweep.orchestrator.console import out
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.summaries import summaries

if TYPE_CHECKING:
    from landsweep.orchestrator.kind import SweepKind

__all__ = ["kinds", "new"]

_WIDTH = 100  # of a comment


def _names(incomplete: str) -> list[str]:
    """Kinds whose names begin with it, for the shell's completion."""
    return [name for name in summaries() if name.startswith(incomplete)]


def _paths(ctx: typer.Context, incomplete: str) -> list[str]:
    """Places in the spec of the kind named before, for the shell's completion."""
    from landsweep.orchestrator.kind import kind_named
    from landsweep.orchestrator.schema import place_at

    above = incomplete.rpartition(".")[0]
    try:
        fields = place_at(kind_named(str(ctx.params.get("name"))).spec, above.split(".") if above else []).fields
    except SpecError:
        return []
    paths = [f"{above}.{field}" if above else field for field in fields]
    return [path for path in paths if path.startswith(incomplete)]


Kind = Annotated[str, typer.Argument(metavar="KIND", help="Name of a kind.", autocompletion=_names)]


def kinds(
    name: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="Show the fields of its spec.", autocompletion=_names)
    ] = None,
    path: Annotated[
        str | None,
        typer.Argument(metavar="[PATH]", help="Show what may stand there: recipe.net, axes.x.", autocompletion=_paths),
    ] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON schema of its specs, for editors.")
    ] = False,
) -> None:
    """List the kinds of sweep, or the fields of one kind with an example, or what may stand at a place in its spec."""
    if json_schema and (name is None or path is not None):
        raise UsageError(
            "--json-schema: name one kind, and no place: landsweep kinds zoo --json-schema > zoo.schema.json"
        )
    if name is None:
        table = Table("kind", "what it computes", box=None, pad_edge=False)
        for kind_name, summary in summaries().items():
            table.add_row(kind_name, summary)
        out.print(table)
        return
    from landsweep.orchestrator.commands.display import kind_text
    from landsweep.orchestrator.commands.fields_text import fields_text
    from landsweep.orchestrator.kind import kind_named

    kind = kind_named(name)
    if json_schema:
        from landsweep.orchestrator.editor_schema import editor_schema

        out.print_json(json.dumps(editor_schema(kind.spec, kind.name)))
        return
    out.print(kind_text(kind) if path is None else fields_text(kind, path))


def new(name: Kind) -> None:
    """Print a small spec of a kind that runs as it is, with a comment on each field, to begin your own with."""
    from landsweep.orchestrator.kind import kind_named

    out.print(_commented(kind_named(name)))


def _commented(kind: SweepKind[Any]) -> str:
    """The kind's example as YAML; fields that it leaves out stand there as comments, with their defaults."""
    import textwrap

    from landsweep.orchestrator.reading import write_yaml

    spec = kind.example()
    given, all_fields = spec.given(), spec.model_dump(mode="json")
    lines = [f"# {kind.summary}.", f"# All fields: landsweep kinds {kind.name}; what is inside one: "]
    lines[-1] += f"landsweep kinds {kind.name} FIELD"
    for field, about in kind.spec.model_fields.items():
        lines += ["", *textwrap.wrap(about.description or "", _WIDTH, initial_indent="# ", subsequent_indent="# ")]
        text = write_yaml({field: given.get(field, all_fields.get(field))}).rstrip().splitlines()
        lines += text if field in given else [f"#{line}" for line in text]
    return "\n".join(lines)
