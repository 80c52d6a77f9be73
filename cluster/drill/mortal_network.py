"""A network that takes its worker with it in the middle of a training, once."""

from __future__ import annotations

import json
import os
import platform
import signal
import time

import torch
from torch import Tensor, nn

from landsweep.cluster.drill.training import RECORD
from landsweep.orchestrator.storage.store import Store

__all__ = ["network"]

_FIRST = 20  # steps are counted from here on: a proof of the back-end makes some too


def network(results: str, after: float, step_seconds: float) -> nn.Module:
    """The network.

    Args:
        results: folder of the sweep, as path or URL.
        after: its process dies so long after training began there, s.
        step_seconds: each step takes so long at least, s.
    """
    return _Mortal(results, after, step_seconds)


class _Mortal(nn.Module):
    """Ten classes of 64 numbers; `steps` counts the steps, and is in each saved state as all buffers are."""

    steps: Tensor

    def __init__(self, results: str, after: float, step_seconds: float) -> None:
        super().__init__()
        self._results, self._after, self._step_seconds = results, after, step_seconds
        self.linear = nn.Linear(64, 10)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._began: dict[int, float] = {}  # when each step did, by how many were made before it
        self._spared = False

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._age()
        outputs: Tensor = self.linear(x.flatten(1))
        return outputs

    def _age(self) -> None:
        steps_made = int(self.steps)
        if steps_made >= _FIRST and not self._spared:
            self._began[steps_made] = now = time.monotonic()
            if now - min(self._began.values()) > self._after:
                self._die(steps_made, now)
                self._spared = True
        time.sleep(self._step_seconds)
        self.steps += 1

    def _die(self, steps_made: int, now: float) -> None:
        """SIGKILL to this process, if no process of this sweep has died so."""
        ages = {step: now - began for step, began in self._began.items()}
        about = {"host": platform.node(), "pid": os.getpid(), "at": time.time(), "what": "worker"}
        if Store.at(self._results).create(RECORD, json.dumps({**about, "steps": steps_made, "began": ages}).encode()):
            os.kill(os.getpid(), signal.SIGKILL)
