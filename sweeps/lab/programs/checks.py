"""Whether a program can be started, as far as that can be seen before anything is."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.trust import allow_program
from landsweep.sweeps.lab.programs.attempt import working_folder
from landsweep.sweeps.lab.programs.sources import lacks_tensorboard
from landsweep.sweeps.lab.programs.spec import Program
from landsweep.sweeps.lab.programs.words import filled, names_in

__all__ = ["check_program"]

_PYTHON = re.compile(r"(?:.*/)?(?:python[\d.]*|\{python\})")


def check_program(program: Program, folder: Path) -> None:
    """Look for the program, the folder where it is started and, of Python, its script.

    Args:
        program: of the spec.
        folder: of the spec.

    Raises:
        SpecError: one of them is not there, or what its metrics are read with.
        Untrusted: it comes from a results folder that nobody has trusted.
    """
    allow_program(program.texts())
    if program.metrics.tensorboard is not None and (complaint := lacks_tensorboard()) is not None:
        raise SpecError(f"command: {complaint}")
    known = {"folder": str(folder.resolve()), "python": sys.executable}
    cwd = None
    if not {*names_in(program.cwd)} - known.keys():
        cwd = working_folder(program, folder, known)
        if not cwd.is_dir():
            raise SpecError(f"command.cwd: there is no folder {cwd}")
    first = str(program.run[0])
    if {*names_in(first)} <= known.keys():
        _check_executable(filled(first, known), cwd, program.env.get("PATH"))
    second = program.run[1] if len(program.run) > 1 else None
    if not _PYTHON.fullmatch(first) or not isinstance(second, str) or second.startswith("-"):
        return
    if {*names_in(second)} <= known.keys():
        script = Path(filled(second, known))
        if (script.is_absolute() or cwd is not None) and not ((cwd or folder) / script).exists():
            raise SpecError(f"command: there is no script {(cwd or folder) / script}; command.cwd is {program.cwd!r}")


def _check_executable(name: str, cwd: Path | None, path: str | None) -> None:
    if "/" not in name:
        if shutil.which(name, path=path) is None:
            looked = path or os.environ.get("PATH", "")
            raise SpecError(f"command: there is no program {name!r}; looked in {looked or 'no folder: PATH is empty'}")
        return
    if cwd is None and not name.startswith("/"):
        return
    place = (cwd or Path("/")) / name
    if not place.is_file():
        raise SpecError(f"command: there is no program {place}")
    if not os.access(place, os.X_OK):
        raise SpecError(f"command: {place} is not executable: `chmod +x {place}`, or name its interpreter first")
