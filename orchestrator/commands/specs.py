"""The command `specs`: ready specs that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from landsweep.orchestrator.console import out
from landsweep.orchestrator.spec_files import shipped_specs, spec_path

__all__ = ["first_comment", "specs", "specs_about"]


def _names(incomplete: str) -> list[str]:
    """Specs whose names begin with it, for the shell's completion."""
    return [name for name in shipped_specs() if name.startswith(incomplete)]


def specs(
    name: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="Print this one, to copy it.", autocompletion=_names)
    ] = None,
) -> None:
    """List the specs that come with landsweep and run by their names, or print one of them."""
    if name is not None:
        out.print(spec_path(name).read_text(encoding="utf-8").rstrip("\n"))
        return
    table = Table("spec", "what it shows", box=None, pad_edge=False)
    for spec, about in specs_about().items():
        table.add_row(spec, about)
    out.print(table)


def specs_about() -> dict[str, str]:
    """What each shipped spec shows, by its name: the first paragraph of the comment that it begins with."""
    return {name: first_comment(file) for name, file in shipped_specs().items()}


def first_comment(file: Path) -> str:
    """The first paragraph of the comment that a YAML file begins with."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        lines.append(text)
    return " ".join(lines)
