"""Spec files: by path, or one that an installed package ships, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.shipped import shipped_files

__all__ = ["SPECS", "is_file", "refuse_lost_folder", "shipped_specs", "spec_folder", "spec_path"]

SPECS = "landsweep.specs"  # entry points: packages whose YAML files are specs
_LONGEST = 200  # characters of a name that a message repeats
_ENDS = (".yaml", ".yml")


def refuse_lost_folder() -> None:
    """Refuse to go on where the current folder has been removed.

    Raises:
        UsageError: it has.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError(
            "the current folder has been removed, so that no path can be looked up; go to another one, or with cd into "
            "this one again where it was made anew, and give the same command"
        ) from None


def shipped_specs() -> dict[str, Path]:
    """The specs that installed packages ship, by name, in order."""
    return shipped_files(SPECS)


def is_file(path: Path) -> bool:
    """Whether there is such a file; of a name that no file can have, no."""
    try:
        return path.is_file()
    except OSError:
        return False


def spec_path(given: str | Path) -> Path:
    """The file that a path or the name of a shipped spec stands for; where both exist, it is the path.

    Raises:
        SpecError: neither exists; names the shipped specs that are called alike.
    """
    path, name = Path(given), str(given)
    if is_file(path):
        return path
    shipped = shipped_specs()
    if name in shipped:
        return shipped[name]
    close = difflib.get_close_matches(path.stem[:_LONGEST], shipped, n=3)
    like = f" (did you mean {' or '.join(close)}?)" if close else ""
    if len(name) > _LONGEST:
        problem = f"there is no file {name[:_LONGEST]!r}..., a name of {len(name):,} characters"
    elif path.is_dir():
        problem = f"{name} is a folder, not a spec"
    elif path.suffix in _ENDS or path.name != name:
        problem = f"there is no file {name}"
    else:
        problem = f"there is no file {name!r}, and no shipped spec of that name"
    raise SpecError(f"{problem}{like}. Give the path of a YAML file, or a name that `landsweep specs` lists")


def spec_folder(path: Path) -> Path:
    """What relative paths in a spec file are relative to: its folder; of a shipped spec, where the user stands.

    Nothing but specs lies beside a shipped spec: the results and the data that it names are the user's.
    """
    place = path.resolve()
    shipped = (file.resolve() for file in shipped_specs().values())
    return Path.cwd() if place in shipped else path.parent
