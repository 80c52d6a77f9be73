"""Memory that a worker has freed stays with it: forward passes ask for the same sizes again and again.

By default glibc gives large blocks back to the system as soon as they are free, and the system clears their pages
before it hands them out anew. That took up to a third of a landscape's time, and of a training of large matrices more.
Above 32 MiB glibc does so whatever its threshold says, so here it takes no block from the system on its own
(docs/decisions/0037). Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["KEEP_FREED_MEMORY", "give_back", "keep_freed_memory"]

_KEPT = 512 << 20  # so much freed memory stays at the end of the heap
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)

# For processes that are yet to start. Only the first arena keeps what is free, so all threads use that.
KEEP_FREED_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT),
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_ARENA_MAX": "1",
}


def keep_freed_memory() -> None:
    """Keep what this process has freed until `give_back`, unless its environment says what the C library should do.

    More than half a GB at the end of the heap is given back at once.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if _is_glibc() and not chosen:
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_MMAP_MAX, 0)


def give_back() -> None:
    """Give the system what is kept."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    name = "CS_GNU_LIBC_VERSION"
    return name in os.confstr_names and (os.confstr(name) or "").startswith("glibc")
