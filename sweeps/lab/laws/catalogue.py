"""All laws. A new one is one file with a subclass of `Law`, and its instance here."""

from __future__ import annotations

from orchestrator.errors import UsageError
from sweeps.lab.laws.base import Law
from sweeps.lab.laws.chinchilla import CHINCHILLA
from sweeps.lab.laws.power import POWER, POWER_OFFSET

__all__ = ["LAWS", "law_named"]

LAWS: tuple[Law, ...] = (POWER, POWER_OFFSET, CHINCHILLA)


def law_named(name: str) -> Law:
    """The law of this name.

    Raises:
        UsageError: there is none.
    """
    for law in LAWS:
        if law.name == name:
            return law
    raise UsageError(f"there is no law {name!r}; there are {', '.join(law.name for law in LAWS)}")
