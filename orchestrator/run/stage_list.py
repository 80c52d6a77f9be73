"""`stages.json`: the stages whose results lie in the folders beside it, in order."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.storage.readers import object_or_none

__all__ = ["NAME", "read_stage_list", "write_stage_list"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a stage may be called: its results lie in a folder of this name."""
_FILE = "stages.json"


def write_stage_list(store: Store, name: str, description: str, stages: Sequence[str]) -> None:
    """Note what a folder of stages holds.

    Args:
        store: of the folder.
        name: of the whole.
        description: what it is for.
        stages: names, in order.
    """
    fields = {"name": name, "description": description, "stages": list(stages)}
    store.replace(_FILE, json.dumps(fields, indent=1).encode())


def read_stage_list(store: Store) -> dict[str, Any] | None:
    """The fields that were written, each of its type; None where the folder holds no stages.

    A file that somebody else wrote leads nowhere: what is no name of a stage makes all of it None.
    """
    try:
        fields = object_or_none(store.read(_FILE))
    except FileNotFoundError:
        return None
    stages = None if fields is None else fields.get("stages")
    if fields is None or not isinstance(stages, list) or not stages:
        return None
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in stages):
        return None
    text = {name: str(fields.get(name, "")) for name in ("name", "description")}
    return {**text, "stages": list(dict.fromkeys(stages))}
