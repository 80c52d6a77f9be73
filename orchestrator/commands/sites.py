"""The command `sites`: where sweeps can run, by name. Libraries are imported when it is run."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from landsweep.orchestrator.commands.specs import first_comment
from landsweep.orchestrator.console import out
from landsweep.orchestrator.errors import SpecError, UsageError

__all__ = ["sites"]


def _names(incomplete: str) -> list[str]:
    """Sites whose names begin with it, for the shell's completion."""
    from landsweep.orchestrator.site import site_names

    return [name for name in site_names() if name.startswith(incomplete)]


def sites(
    name: Annotated[
        str | None, typer.Argument(metavar="[SITE]", help="Print this one, to copy it.", autocompletion=_names)
    ] = None,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON schema of site files, for editors.")
    ] = False,
) -> None:
    """List the sites that `--site` knows by name, or print one of them; a file of your own is a site, too."""
    if json_schema and name is not None:
        raise UsageError("--json-schema is the same for all sites: landsweep sites --json-schema > site.schema.json")
    if json_schema:
        from landsweep.orchestrator.editor_schema import site_schema

        out.print_json(json.dumps(site_schema()))
        return
    from landsweep.orchestrator.shipped import shipped_files
    from landsweep.orchestrator.site import SITES

    files = shipped_files(SITES)
    if name is not None:
        if name not in files:
            raise SpecError(f"there is no site {name!r}; the names are {', '.join(sorted(files))}")
        out.print(files[name].read_text(encoding="utf-8").rstrip("\n"))
        return
    table = Table("site", "what it is for", box=None, pad_edge=False)
    for site, file in sorted(files.items()):
        table.add_row(site, first_comment(file))
    out.print(table)
