"""Before a run goes on: files beside its rows are looked at, and rows whose files are lost make room for new ones."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence

from landsweep.orchestrator.row import Column
from landsweep.orchestrator.run.progress import Watch
from landsweep.orchestrator.storage.ledger import (
    Damage,
    Ledger,
    NamedFile,
    Writer,
    check_files,
    check_states,
    read_status,
    write_status,
)
from landsweep.orchestrator.text import one_line

__all__ = ["lost_files", "retire", "set_aside"]

Lost = Sequence[tuple[NamedFile, Damage]]


def lost_files(ledger: Ledger, columns: Iterable[Column], watch: Watch, *, deep: bool) -> Lost:
    """The files that rows name and that are missing or damaged; says what was looked at.

    Args:
        ledger: of the sweep.
        columns: of its rows; those with a `checksum` name files.
        watch: shows the user what was found.
        deep: read all of their bytes; else see only whether each is there and not cut off.
    """
    files = ledger.named_files(columns)
    lost = check_files(ledger.store, files, deep=deep)
    if files:
        checked = "every byte compared"
        if not deep:
            command = f"landsweep verify {shlex.quote(ledger.store.where)} --deep"
            checked = f"all present and none cut off; to compare their bytes: {command}"
        watch.say(f"files that rows name: {len(files):,}, {checked}")
    return lost


def retire(ledger: Ledger, keys: Collection[str], lost: Lost, watch: Watch) -> None:
    """Take out the rows of these units and of those that left the lost files, so that they are computed again."""
    for file, damage in lost:
        watch.say(f"{damage}; the {len(file.keys):,} units that wrote it are computed again")
    # The state on disk is of the last run: a kill from here on must not leave one that says all is done.
    write_status(ledger.store, {**(read_status(ledger.store) or {}), "phase": "computing again"})
    affected = {*keys, *(key for file, _ in lost for key in file.keys)}
    ledger.retire(affected, [file.path for file, _ in lost])
    _say_set_aside(ledger.damaged, watch)


def set_aside(ledger: Ledger, writer: Writer, watch: Watch, *, states: bool) -> None:
    """Say what the writer has set aside.

    Args:
        ledger: of the sweep.
        writer: which has just opened it.
        watch: shows the user what was found.
        states: read all states to go on from too, and move those whose bytes are not what was written out of the way.
    """
    _say_set_aside(writer.set_aside, watch)
    for damage in check_states(ledger.store, deep=True).damaged if states else ():
        writer.set_file_aside(damage.path)
        watch.say(f"set aside: {damage}; units that would resume from it start earlier")


def _say_set_aside(damaged: Iterable[Damage], watch: Watch) -> None:
    for damage in damaged:
        watch.say(
            f"set aside: {one_line(damage.path)} ({damage.reason}); units that lost their rows are computed again"
        )
