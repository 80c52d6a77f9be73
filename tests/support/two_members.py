"""Trainings by real processes that share each batch, many in one start: `trained` gives what the first one saw."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landsweep.orchestrator.kind import Gang
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Checkpoint, Ended, Evaluated, Trainer, TrainingEvent, train_pack
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.lead import follow, lead
from landsweep.sweeps.lab.training.state_parts import Parts
from landsweep.sweeps.lab.training_units.saver import Saver
from landsweep.sweeps.lab.training_units.states import StateFiles
from tests.support.paths import ROOT

__all__ = ["Counting", "alone", "counting", "trained"]

UNIT = Unit("a" * 32, {})
_DEADLINE = 300.0  # s, for what takes seconds
_BASE = Path()


class Counting(nn.Module):
    """Of digits; knows how many samples it was evaluated on, and raises as torch does after so many steps."""

    evaluated = 0  # by all of this process

    def __init__(self, last: int) -> None:
        super().__init__()
        self.line, self.steps, self.last = nn.Linear(64, 10), 0, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        Counting.evaluated += 0 if self.training else len(x)
        if self.steps > self.last:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x5 and 4x8)")
        outputs: torch.Tensor = self.line(x.flatten(1))
        return outputs


def counting(last: int = 10**6) -> nn.Module:
    return Counting(last)


def trained(
    folder: Path, cases: Mapping[str, tuple[str, dict[str, Any]]], members: int = 2, save_at: int | None = None
) -> dict[str, dict[str, Any]]:
    """By name of the case, what `_seen` says of it. Trainings go on from states in `folder`, by name of the case.

    Args:
        folder: for states, and a file of results.
        cases: by name, the back-end and the recipe.
        members: how many processes there are.
        save_at: keep a state once so many steps have been made.
    """
    (folder / "cases.json").write_text(json.dumps([list(cases.items()), members, save_at]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, heard = listener.getsockname()[1], listener.fileno()
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(rank), str(port), str(heard), str(folder)],
                cwd=ROOT,
                pass_fds=[heard] if rank == 0 else [],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for rank in range(members)
        ]
    try:
        assert processes[0].wait(_DEADLINE) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    seen: dict[str, dict[str, Any]] = json.loads((folder / "seen.json").read_text())
    return seen


def alone(recipe: dict[str, Any], folder: Path | None = None, name: str = "") -> dict[str, Any]:
    """The same of one process, which may go on from a state in a folder."""
    one, before = Recipe.model_validate(recipe), Counting.evaluated
    more: dict[str, Any] = {}
    if folder is not None:
        artifacts = Artifacts(str(folder))
        more = {"resume": StateFiles(artifacts, name).load(), "parts": Parts(artifacts, f"states/{name}")}
        assert more["resume"] is not None
    seen = _seen(list(train_pack([one], one.data.load(_BASE), backend="loop", **more)))
    return {**seen, "evaluated": Counting.evaluated - before}


def _seen(events: Sequence[TrainingEvent]) -> dict[str, Any]:
    """Losses of all evaluations in order, the last weights as one list, and the end."""
    metrics = [e.metrics for e in events if isinstance(e, Evaluated)]
    states = [e.state for e in events if isinstance(e, Checkpoint) and e.label == "last"]
    end = next(e for e in events if isinstance(e, Ended))
    return {
        "losses": [value for m in metrics for name, value in sorted(m.items()) if name.endswith("_loss")],
        "weights": torch.cat([t.flatten().double() for t in states[-1].values()]).tolist() if states else [],
        "status": end.status,
        "skipped": end.metrics.get("skipped_steps"),
        "step": end.step,
    }


def _events(trainer: Trainer, files: StateFiles, save_at: int | None) -> Iterator[TrainingEvent]:
    for event in trainer:
        yield event
        if isinstance(event, Beat) and save_at is not None and event.step >= save_at:
            saver, save_at = Saver(files), None
            saver.save([UNIT], [UNIT.key], trainer.state(), trainer.written)
            saver.finish()


def _member(rank: int, port: int, listener: int, folder: Path) -> None:
    cases, members, save_at = json.loads((folder / "cases.json").read_text())
    place = Gang(rank, members, "127.0.0.1", port, 60.0, b"secret", listener if rank == 0 else -1)
    gang, artifacts = Collective.of(place, "cpu"), Artifacts(str(folder))
    if rank:
        follow(gang, lambda recipe: recipe.data.load(_BASE), "cpu", _BASE, artifacts)
    seen: dict[str, Any] = {}
    for name, (backend, recipe) in cases:
        one, before, files = Recipe.model_validate(recipe), Counting.evaluated, StateFiles(artifacts, name)
        settings: dict[str, Any] = {"device": "cpu", "backend": backend, "resume": files.load()}
        try:
            trainer = lead(gang, one, one.data.load(_BASE), parts=Parts(artifacts, files.stem, gang), **settings)
            seen[name] = _seen(list(_events(trainer, files, save_at)))
        except Exception as e:  # noqa: BLE001 - the test looks at it
            seen[name] = {"error": type(e).__name__, "text": str(e)}
        seen[name]["evaluated"] = Counting.evaluated - before
    (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    from tests.support import two_members  # whose `Counting` networks are made of, not that of `__main__`

    torch.set_num_threads(1)
    two_members._member(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    os._exit(0)  # Gloo's threads may abort while Python shuts down
