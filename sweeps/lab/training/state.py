"""The state of a training as named arrays: a header in JSON, tensors, and the events so far, which are emitted again.

A header lists name, shape and type of every other array, so that a state of which something is missing is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.identity import by_content
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.events import BranchPoint, Checkpoint, Ended, Evaluated, ModelEvent
from landsweep.sweeps.lab.training.scores import BestMetrics

__all__ = ["FIXED_ARRAYS", "PARTS", "Arrays", "SavedState", "as_arrays", "read_header", "read_state", "recipes_digest"]

FIXED_ARRAYS = "snapshot/"
"""Arrays whose names begin so are weights of an event: from state to state they only become more, and none changes."""

PARTS = "parts"
"""Array that says in which files the parts of a divided model lie, see `state_parts`."""

_TEXTS = ("about", "events", PARTS)


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a state holds.

    Attributes:
        header: what is no array, by name.
        tensors: by name, on the CPU.
        events: all that were emitted, but beats.
        parts: where the rest of the tensors lies; None: there is no more.
    """

    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    events: Sequence[ModelEvent]
    parts: NDArray[np.uint8] | None = None


def as_arrays(
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    events: Sequence[ModelEvent],
    parts: NDArray[np.uint8] | None = None,
) -> dict[str, NDArray[Any]]:
    """A state as arrays: copies of the tensors, and the weights of events as they are, for nobody changes them."""
    arrays = {name: t.detach().cpu().numpy().copy() for name, t in tensors.items()} | _from_events(events)
    arrays |= {} if parts is None else {PARTS: parts}
    return {"about": _text({**header, "entries": _entries(arrays)}), **arrays}


def read_state(arrays: Arrays) -> SavedState:
    """The state that `as_arrays` was given.

    Raises:
        SpecError: it is none, or not whole.
    """
    header = read_header(arrays)
    names = [n for n in arrays if n not in _TEXTS and not n.startswith(FIXED_ARRAYS)]
    tensors = {n: torch.from_numpy(np.array(arrays[n])) for n in names}
    return SavedState(header, tensors, _events_in(arrays), arrays.get(PARTS))


def read_header(arrays: Arrays) -> dict[str, Any]:
    """The header of a state.

    Raises:
        SpecError: it has none, or not all the arrays that its header lists.
    """
    try:
        header: dict[str, Any] = json.loads(np.asarray(arrays["about"]).tobytes())
    except (KeyError, ValueError) as e:
        raise SpecError("resume: this is no state of a training") from e
    if header.get("entries") != (have := _entries({n: a for n, a in arrays.items() if n != "about"})):
        odd = sorted(dict(header.get("entries", {})).items() ^ dict(have).items())
        raise SpecError(f"resume: the state is not whole; look at its entries {', '.join(n for n, _ in odd[:3])}")
    return header


def recipes_digest(recipes: Sequence[Recipe]) -> str:
    """Digest by which a state knows the recipes that it is of."""
    return digest([by_content(r.model_dump(mode="json")) for r in recipes], size=8)


def _entries(arrays: Arrays) -> dict[str, str]:
    """Shape and type of each array."""
    return {name: f"{list(np.shape(a))} {np.asarray(a).dtype}" for name, a in sorted(arrays.items())}


def _text(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8).copy()


def _from_events(events: Sequence[ModelEvent]) -> dict[str, NDArray[Any]]:
    """Events as one text, and the weights of each under its place in the list."""
    entries: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for i, event in enumerate(events):
        entry: dict[str, Any] = {"index": event.index, "step": event.step}
        match event:
            case Evaluated():
                entry |= {"of": "evaluated", "epoch": event.epoch, "metrics": dict(event.metrics)}
            case Checkpoint():
                entry |= {"of": "snapshot", "epoch": event.epoch, "label": event.label, "slot": i}
                arrays |= {f"{FIXED_ARRAYS}{i}/{name}": t.numpy() for name, t in event.state.items()}
            case BranchPoint():
                entry |= {"of": "point", "slot": i}
                arrays |= {f"{FIXED_ARRAYS}{i}/{name}": t.numpy() for name, t in event.state.items()}
            case Ended():
                entry |= {"of": "ended", "status": event.status, "epoch": event.epoch, "metrics": dict(event.metrics)}
                entry |= {"error": event.error, "seconds": event.seconds}
        entries.append(entry)
    return {"events": _text(entries), **arrays}


def _events_in(arrays: Arrays) -> list[ModelEvent]:
    """The events that `_from_events` was given; what was best when a model ended follows from its evaluations."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith(FIXED_ARRAYS):
            slot, _, key = name.removeprefix(FIXED_ARRAYS).partition("/")
            states.setdefault(int(slot), {})[key] = torch.from_numpy(np.array(array))
    events: list[ModelEvent] = []
    best: dict[int, BestMetrics] = {}
    for entry in json.loads(arrays["events"].tobytes()):
        of, weights = entry.pop("of"), states.get(entry.pop("slot", -1), {})
        if of == "evaluated":
            best.setdefault(entry["index"], BestMetrics()).report(entry["step"], entry["metrics"])
            events.append(Evaluated(**entry))
        elif of == "ended":
            reached = best[entry["index"]].values() if entry["index"] in best else {}
            events.append(Ended(**entry, best=reached))
        elif of == "point":
            events.append(BranchPoint(**entry, state=weights))
        else:
            events.append(Checkpoint(**entry, state=weights))
    return events
