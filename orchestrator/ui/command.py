"""The command `ui`. What it needs is imported once it is called."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["register"]

_PORT = 8642


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("ui", epilog="Example: landsweep ui results")(_ui)


def _ui(
    results: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RESULTS]...",
            help="Results folders, folders that hold some, or URLs of sweeps; by default `results`.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = _PORT,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others can reach all but 127.0.0.1.")] = (
        "127.0.0.1"
    ),
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser too.")] = False,
) -> None:
    """Show sweeps in a browser: progress, curves, tables, figures, single units, comparisons. It changes nothing.

    The address that it prints holds a token: whoever has it can see these results while the command runs.
    """
    from landsweep.orchestrator.ui.server import serve

    serve(results or ["results"], host, port, open_browser=open_browser)
