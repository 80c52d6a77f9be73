"""The commit of a folder, by git, without running any program that the folder's own configuration names.

A repository may come from anybody, and its `.git/config` can name programs that git runs even when it only compares
files: a file system monitor, filters of contents, hooks, and transports that fetch objects which a partial clone lacks.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["commit_of"]

_SECONDS = 10
_PLAIN = ("core.fsmonitor=false", "core.hooksPath=/dev/null")
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def commit_of(folder: Path) -> str | None:
    """Commit of a folder, `+changes` when tracked files differ from it; None outside a repository.

    Of submodules only the commit is compared. A file that a filter changes (git-lfs) counts as changed once its time or
    size is not that which git has noted, because filters are not run.
    """
    try:
        commit = _git(folder, "describe", "--always", "--abbrev=40").strip()
        if not commit:
            return None
        changes = _git(
            folder,
            *_without_filters(folder),
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--ignore-submodules=dirty",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def _without_filters(folder: Path) -> Iterator[str]:
    """Options that make each filter of the configuration do nothing."""
    try:
        names = _git(folder, "config", "--includes", "--null", "--name-only", "--get-regexp", r"^filter\.").split("\0")
    except subprocess.CalledProcessError:  # there is none
        return
    for filtered in sorted({name.rpartition(".")[0] for name in names if name}):
        for option in ("clean=", "smudge=", "process=", "required=false"):
            yield from ("-c", f"{filtered}.{option}")


def _git(folder: Path, *words: str) -> str:
    options = [word for setting in _PLAIN for word in ("-c", setting)]
    return subprocess.run(
        ["git", "--no-pager", "-C", str(folder), *options, *words],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **_ENVIRONMENT},
        timeout=_SECONDS,
        check=True,
    ).stdout
