"""What a training has told so far, as arrays, so that it can be told again; and what a state says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.errors import SpecError
from sweeps.lab.packs.events import Ended, Evaluated, PackEvent, Point, Snapshot

__all__ = ["about_state", "entries", "pack_events", "unpack_events"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def pack_events(events: Sequence[PackEvent]) -> dict[str, NDArray[Any]]:
    """Events as arrays: their text as bytes, the weights of snapshots each under its own name."""
    told: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for i, event in enumerate(events):
        match event:
            case Evaluated(index, step, epoch, metrics):
                told.append({"of": "evaluated", "index": index, "step": step, "epoch": epoch, "metrics": dict(metrics)})
            case Snapshot(index, step, epoch, label, state):
                told.append({"of": "snapshot", "index": index, "step": step, "epoch": epoch, "label": label, "slot": i})
                arrays |= {f"snapshot/{i}/{name}": t.numpy() for name, t in state.items()}
            case Point(index, step, state):
                told.append({"of": "point", "index": index, "step": step, "slot": i})
                arrays |= {f"snapshot/{i}/{name}": t.numpy() for name, t in state.items()}
            case Ended(index, status, step, epoch, metrics, error, seconds):
                told.append(
                    {"of": "ended", "index": index, "status": status, "step": step, "epoch": epoch}
                    | {"metrics": dict(metrics), "error": error, "seconds": seconds}
                )
    text = json.dumps(told).encode()
    return {"events": np.frombuffer(text, np.uint8).copy(), **arrays}


def unpack_events(arrays: Arrays) -> list[PackEvent]:
    """The events that `pack_events` was given."""
    events: list[PackEvent] = []
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith("snapshot/"):
            _, slot, key = name.split("/", 2)
            states.setdefault(int(slot), {})[key] = torch.from_numpy(np.array(array))
    for told in json.loads(arrays["events"].tobytes()):
        of = told.pop("of")
        if of == "evaluated":
            events.append(Evaluated(**told))
        elif of == "ended":
            events.append(Ended(**told))
        elif of == "point":
            events.append(Point(state=states.get(told.pop("slot"), {}), **told))
        else:
            events.append(Snapshot(state=states.get(told.pop("slot"), {}), **told))
    return events


def about_state(arrays: Arrays) -> dict[str, Any]:
    """What a state says of itself.

    Raises:
        SpecError: it says nothing, or has not the entries that it says it has.
    """
    try:
        about: dict[str, Any] = json.loads(np.asarray(arrays["about"]).tobytes())
    except (KeyError, ValueError) as e:
        raise SpecError("resume: this is no state of a training") from e
    if about.get("entries") != (have := entries({n: a for n, a in arrays.items() if n != "about"})):
        odd = sorted(dict(about.get("entries", {})).items() ^ dict(have).items())
        raise SpecError(f"resume: the state is not whole; look at its entries {', '.join(n for n, _ in odd[:3])}")
    return about


def entries(arrays: Arrays) -> dict[str, str]:
    """Shape and type of each array."""
    return {name: f"{list(np.shape(a))} {np.asarray(a).dtype}" for name, a in sorted(arrays.items())}
