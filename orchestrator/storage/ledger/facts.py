"""What `sweep.json` says of a sweep, with a checksum over all of it.

The checksum tells of changes by accident and by hand. It is no signature: whoever knows how, can make a new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from landsweep.orchestrator.storage.ledger.parts import Damage

__all__ = ["FACTS", "check_facts", "has_checksum", "with_checksum"]

FACTS = "sweep.json"
_CHECKSUM = "checksum"
_ID = re.compile("[0-9a-f]{40}")  # of sweeps that have a checksum; earlier versions gave ids of 32 digits, and none


def with_checksum(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts with the checksum of all of them, in place of one that is there."""
    return {**facts, _CHECKSUM: _checksum(facts)}


def has_checksum(facts: Mapping[str, Any]) -> bool:
    """Whether there is one; a sweep of an earlier version has none."""
    return _CHECKSUM in facts


def check_facts(facts: Mapping[str, Any]) -> Damage | None:
    """What is wrong with the facts; None: nothing, or an earlier version wrote them without a checksum."""
    if not has_checksum(facts):
        lost = _ID.fullmatch(str(facts.get("id"))) is not None  # each part holds the id, so that one can't be changed
        return Damage(FACTS, "its checksum was removed") if lost else None
    if facts[_CHECKSUM] == _checksum(facts):
        return None
    return Damage(FACTS, "what it says of the sweep (spec, commit, host, command or others) was changed")


def _checksum(facts: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in facts.items() if name != _CHECKSUM}
    return blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=16).hexdigest()
