"""What to type to go on with a sweep: its page and the web application show the same commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from landsweep.orchestrator.redaction import redacted, redacted_words

__all__ = ["commands_for"]

_LONGEST = 4_000  # characters


def commands_for(where: str, typed: str | Sequence[str]) -> dict[str, str]:
    """What each command does, in words, and the command.

    Args:
        where: the results folder, a path or URL.
        typed: the words of the command that made the sweep, without the first one; a text is taken apart into words.
            Without any, nothing is said of how to resume and reproduce it.

    Example:
        >>> commands_for("results/a", ["run", "a.yaml", "--site", "local"])["reproduce it in another folder"]
        'landsweep run a.yaml --site local --out results/a-again'
    """
    words = _words_of(redacted(typed)) if isinstance(typed, str) else list(redacted_words(typed))
    words = words if words[:1] in (["run"], ["submit"]) else []  # else it was begun by a program of the user's own
    place = shlex.quote(redacted(where))
    commands = {}
    if words:
        again = f"{redacted(where).rstrip('/')}-again"
        commands["resume it, or extend it when axes of the spec have grown"] = shlex.join(["landsweep", *words])
        commands["reproduce it in another folder"] = shlex.join(["landsweep", *_elsewhere(words), "--out", again])
    commands |= {
        "follow it in a terminal": f"landsweep status {place} --watch",
        "look at its units in the browser": f"landsweep ui {place}",
        "compute failed units again": f"landsweep rerun {place} --status failed",
        "check its files": f"landsweep verify {place}",
        "write its report": f"landsweep report {place}",
        "write its figures for a paper": f"landsweep figures {place} --style paper --format pdf",
    }
    return {name: command if len(command) <= _LONGEST else _too_long(command) for name, command in commands.items()}


def _too_long(command: str) -> str:
    """A remark in the place of a command: were it cut, quoted text could become a command."""
    return f"# this command has {len(command):,} characters, too many to be shown here"


def _elsewhere(words: Sequence[str]) -> list[str]:
    """The words without the folder that they name."""
    left: list[str] = []
    skipped = False
    for word in words:
        if not skipped and word != "--out" and not word.startswith("--out="):
            left.append(word)
        skipped = word == "--out" and not skipped
    return left


def _words_of(command: str) -> list[str]:
    """The words of a command that was kept as one text; each is quoted again, so that none is a command of a shell."""
    try:
        return shlex.split(command)
    except ValueError:
        return [command]
