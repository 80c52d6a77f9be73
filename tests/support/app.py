"""The command line with the commands of all parts, as `main` puts it together."""

from __future__ import annotations

from importlib.metadata import entry_points

from landsweep.orchestrator.commands.cli import COMMANDS, app

__all__ = ["app"]

for _entry in entry_points(group=COMMANDS):
    _entry.load()(app)
