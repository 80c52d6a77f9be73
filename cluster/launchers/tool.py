"""Command-line tools of schedulers: sbatch, kubectl, ray, ssh. One that is missing or fails is named in the error."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from landsweep.orchestrator.errors import Unreachable
from landsweep.orchestrator.text import shortened

__all__ = ["Tool", "ToolFailed"]

_SHOWN = 500  # characters of a command, in a message


class ToolFailed(Unreachable):
    """A tool ended with an error; `output` holds what it said."""

    def __init__(self, command: str, output: str) -> None:
        self.output = output
        super().__init__(f"{command} failed: {output or 'it said nothing'}")


class Tool:
    """One program.

    Args:
        program: name of the executable, looked up in PATH.
        fix: what to do where it is missing.
    """

    def __init__(self, program: str, fix: str) -> None:
        self._program = program
        self._fix = fix

    @property
    def installed(self) -> bool:
        """Whether it is installed."""
        return shutil.which(self._program) is not None

    def run(
        self,
        *words: str,
        stdin: str | None = None,
        seconds: float = 60,
        env: Mapping[str, str] | None = None,
        shown: Sequence[str] | None = None,
    ) -> str:
        """Run it and give what it prints; bytes that are not UTF-8 are replaced.

        Args:
            words: arguments of the program.
            stdin: text for its standard input.
            seconds: at most this long.
            env: its whole environment, if not this process's.
            shown: words for the error message, if not all of them.

        Raises:
            Unreachable: it is not installed, or does not end in time.
            ToolFailed: it ended with an error.
        """
        command = shlex.join([self._program, *(words if shown is None else shown)])
        if not self.installed:
            raise Unreachable(f"there is no `{self._program}` on this machine: {self._fix}")
        try:
            done = subprocess.run(
                [self._program, *words],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
                env=env,
            )
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{command} gave no answer within {seconds:g} s") from None
        except OSError as e:
            raise Unreachable(f"{shortened(command, _SHOWN)} can't be started: {e.strerror}") from e
        if done.returncode:
            raise ToolFailed(command, (done.stderr.strip() or done.stdout.strip())[-2000:])
        return done.stdout
