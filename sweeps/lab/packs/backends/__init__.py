"""Back-ends: ways to compute a stack of models. Adding one is a file and a line here."""

from __future__ import annotations

from sweeps.lab.packs.backends.base import Backend, Unserved
from sweeps.lab.packs.backends.bmm import Bmm
from sweeps.lab.packs.backends.compiled import Compiled
from sweeps.lab.packs.backends.loop import Loop
from sweeps.lab.packs.backends.vmap import Vmap

__all__ = ["BACKENDS", "Backend", "Bmm", "Compiled", "Loop", "Unserved", "Vmap"]

BACKENDS: dict[str, type[Backend]] = {b.name: b for b in (Loop, Vmap, Bmm, Compiled)}
