"""Back-ends: ways to compute a stack of models. Adding one is a file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from landsweep.sweeps.lab.training.backends.base import Backend, Unserved
from landsweep.sweeps.lab.training.backends.bmm import Bmm
from landsweep.sweeps.lab.training.backends.compiled import Compiled
from landsweep.sweeps.lab.training.backends.loop import Loop
from landsweep.sweeps.lab.training.backends.vmap import Vmap

__all__ = ["BACKENDS", "Backend", "BackendName", "Bmm", "Compiled", "Loop", "Unserved", "Vmap"]

BACKENDS: dict[str, type[Backend]] = {b.name: b for b in (Loop, Vmap, Bmm, Compiled)}
"""By name, the more special the later: `auto` tries them from the end, but those that compile, and ends with `Loop`."""

if TYPE_CHECKING:
    BackendName: TypeAlias = str
else:  # a field of this type lists the names in its schema and in its errors, and no second list can go stale
    BackendName = Literal["auto", *BACKENDS]
