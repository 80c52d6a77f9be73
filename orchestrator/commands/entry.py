"""Where the command begins. To import the command line takes a moment, in which Ctrl-C must be no traceback either."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; Ctrl-C before it is there ends the process with code 130."""
    try:
        from landsweep.orchestrator.commands.cli import main as run  # here: this is what takes a moment

        run()
    except KeyboardInterrupt:
        sys.exit(130)
