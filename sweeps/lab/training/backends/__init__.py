"""Back-ends: ways to compute a stack of models. Adding one is a file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from landsweep.sweeps.lab.training.backends.base import Backend, Unserved
from landsweep.sweeps.lab.training.backends.bmm import Bmm
from landsweep.sweeps.lab.training.backends.compiled import Compiled
from landsweep.sweeps.lab.training.backends.conv import Conv
from landsweep.sweeps.lab.training.backends.ddp import Ddp
from landsweep.sweeps.lab.training.backends.fsdp import Fsdp
from landsweep.sweeps.lab.training.backends.loop import Loop
from landsweep.sweeps.lab.training.backends.vmap import Vmap

__all__ = [
    "BACKENDS",
    "GANG_BACKENDS",
    "Backend",
    "BackendName",
    "Bmm",
    "Compiled",
    "Conv",
    "Ddp",
    "Fsdp",
    "Loop",
    "Unserved",
    "Vmap",
    "backend_named",
    "gang_backend",
    "kin",
    "single",
]

BACKENDS: dict[str, type[Backend]] = {b.name: b for b in (Loop, Vmap, Conv, Bmm, Compiled)}
"""By name, the more special the later: `auto` tries them from the end, but those that compile, and ends with `Loop`."""

GANG_BACKENDS: dict[str, type[Backend]] = {b.name: b for b in (Ddp, Fsdp)}
"""By name, those for models that several devices train together."""


def backend_named(name: str) -> type[Backend]:
    """The back-end of this name, of whichever sort."""
    return (BACKENDS | GANG_BACKENDS)[name]


def single(name: str) -> str:
    """What a back-end's name, or `auto`, means for models on one device: those for several say nothing of them."""
    return "auto" if name in GANG_BACKENDS else name


def gang_backend(name: str) -> str:
    """What a back-end's name, or `auto`, means for models that several devices train."""
    return name if name in GANG_BACKENDS else Ddp.name


def kin(name: str) -> str:
    """The back-end that computes the same way on one device, so that each can go on from the other's states."""
    known = BACKENDS | GANG_BACKENDS
    return (known[name].computes_as or name) if name in known else name


if TYPE_CHECKING:
    BackendName: TypeAlias = str
else:  # a field of this type lists the names in its schema and in its errors, and no second list can go stale
    BackendName = Literal["auto", *BACKENDS, *GANG_BACKENDS]
