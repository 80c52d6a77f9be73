"""What is known of the death of a worker's process, in words; Ray's own text blames the memory whatever it was."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

__all__ = ["death_in_words", "kernel_kills"]

_HINTS = re.compile(r"(Some common causes include|There are some potential root causes)")
_EXIT = re.compile(r"exit code (-?\d+)")
_PLACE = re.compile(r"pid: (\d+)\b.*?\bip: (\S+)", re.DOTALL)
_HERE = "127.0.0.1"  # the address of a Ray of our own


def death_in_words(error: BaseException, kills: int = 0) -> str:
    """Why a worker is gone.

    Args:
        error: what Ray raised.
        kills: how many processes of this machine the kernel has ended for want of memory since the run began.
    """
    text = str(error)
    if (hints := _HINTS.search(text)) is None:
        return text
    place, code = _PLACE.search(text), _EXIT.search(text[: hints.start()])
    where = f" (pid {place[1]} on {place[2]})" if place else ""
    if kills and place is not None and place[2] == _HERE:
        memory = f"The kernel has ended {kills} processes of this machine for want of memory since the run began"
    else:
        memory = "There is no sign that memory ran out"
    with_code = f" with exit code {code[1]} and" if code else ""
    return (
        f"the worker's process{where} ended{with_code} without a word, as by os._exit, a crash in native code or a "
        f"signal. {memory}"
    )


def kernel_kills() -> int:
    """How many processes of this machine the kernel has ended for want of memory; 0 where it does not say."""
    with suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0
