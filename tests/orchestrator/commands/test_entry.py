"""Ctrl-C while the command line is still being imported."""

from __future__ import annotations

import subprocess
import sys


def test_ctrl_c_before_the_command_line_is_there_is_no_traceback() -> None:
    """The import sends the signal to its own process, at a moment that is always the same."""
    code = (
        "import os, signal, sys\n"
        "from landsweep.orchestrator.commands.entry import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
