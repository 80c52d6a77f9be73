"""Steps as CUDA graphs: of small models a host launches kernels more slowly than a GPU computes them.

A captured step is a list of kernels with the addresses that they read and write. Whatever Python computed while it was
captured is frozen in it, so all that differs from step to step must lie in memory: the models' own tensors, and tables
of what the host gives each step of a run, in which the graph counts its own place. A graph is never trusted for that:
its first run is also made step by step from the same state, and must agree in every bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from landsweep.sweeps.lab.averaging import Exponential
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.assembly import Assembly
from landsweep.sweeps.lab.training.stepper import Stepper

__all__ = ["Graphs", "StepGraph", "cannot_capture", "step_by_step"]

LONGEST = 32  # steps in a run, at most
_PAYS = 256  # steps that a pack has made before one is captured, and that are left then: capturing costs many steps
_LARGEST = 2**23  # weights of all models: the kernels of larger ones take longer than their launches


def cannot_capture(recipe: Recipe, assembly: Assembly, *, together: bool) -> str | None:
    """Why steps of a pack can't be captured; None: they can, as far as its settings tell.

    Args:
        recipe: any of the pack.
        assembly: of the pack.
        together: whether the losses of several steps are looked at together.
    """
    reasons = {
        "the losses of each step are looked at before it is made": not together,
        "masks of dropout are drawn by the host": assembly.masks.any,
        "augmentations are drawn by the host": recipe.augment is not None,
        "trajectory looks back by the number of the epoch": recipe.trajectory is not None,
        "averages go by the number of the step": not isinstance(recipe.averaging, Exponential | None),
        f"steps of {recipe.optimizer.method} are not all the same operations": not recipe.optimizer.steps_alike,
        "fused_step takes learning rates from the host": recipe.fused_step,
        "compiled networks are not captured": recipe.compile or assembly.program.compiles,
        f"more than {_LARGEST:.1g} weights keep a GPU busy": assembly.stack.weights.numel() > _LARGEST,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class StepGraph:
    """One captured step. It works in the stepper's own memory, and holds good as long as that is the same.

    A step is rehearsed first, where the host may not wait for the GPU: libraries set themselves up in their first one,
    and a capture that fails may leave torch's allocator in disorder (pull requests 180395 and 190308 of pytorch). The
    stepper's tensors have to be loaded anew afterwards.

    Args:
        stepper: that makes the steps; it has made one before.
        idle: as of `Stepper.update`.
        losses: [K] of any step.

    Raises:
        RuntimeError: the step can't be captured.
    """

    def __init__(self, stepper: Stepper, idle: Sequence[int], losses: Tensor) -> None:
        self._stepper, self._idle = stepper, list(idle)
        numbers = stepper.host_numbers(stepper.step)
        self._tables = {name: t.expand(LONGEST, *t.shape).clone() for name, t in numbers.items()}
        self._losses = losses.new_zeros(LONGEST, *losses.shape)
        self._at = torch.zeros(1, dtype=torch.int64, device=losses.device)
        before = torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(before)
        with torch.cuda.stream(side), _no_waits():
            self._make_one()
        before.wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # The outer context is for captures that fail: those leave their own stream behind as the current one.
        with torch.cuda.stream(before), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._make_one()

    def _make_one(self) -> None:
        """The step as it is captured: all that the host would say is looked up in tables on the device."""
        numbers = {name: table.index_select(0, self._at)[0] for name, table in self._tables.items()}
        with self._stepper.given(numbers):
            self._stepper.gradients()
            losses = self._stepper.update(self._idle)
        self._losses.index_copy_(0, self._at, losses.unsqueeze(0))
        self._at += 1

    def make(self, steps: int) -> list[Tensor]:
        """The next steps, at most `LONGEST`, all with full batches; their losses [K] each."""
        first = self._stepper.step
        each = [self._stepper.host_numbers(first + i) for i in range(steps)]
        for name, table in self._tables.items():
            torch.stack([numbers[name] for numbers in each], out=table[:steps])
        self._at.zero_()
        for _ in range(steps):
            self._graph.replay()
        self._stepper.counted(steps)
        return list(self._losses[:steps].clone().unbind())


class Graphs:
    """Makes the steps of a pack, by a graph where it may: the same bits.

    Args:
        stepper: of the pack.
        total: steps of the training.
        reason: why no step may be captured; None: it may be tried.

    Attributes:
        note: for the rows: since when steps are graphs, or why they are not.
    """

    def __init__(self, stepper: Stepper, total: int, reason: str | None) -> None:
        self._stepper, self._total, self._may = stepper, total, reason is None
        self.note = f"no CUDA graphs: {reason or f'fewer than {2 * _PAYS} steps in the same memory'}"
        self._memory: tuple[dict[str, Tensor], list[int]] = {}, []  # that steps work in, and the idle rows
        self._since = 0  # which step found this memory
        self._graph: StepGraph | None = None

    def make(self, steps: int, idle: Sequence[int]) -> list[Tensor]:
        """The next steps, whether or not losses are finite; their losses [K] each.

        Args:
            steps: how many, at most `LONGEST`.
            idle: as of `Stepper.update`.
        """
        losses: list[Tensor] = []
        while len(losses) < steps:
            first, left = self._stepper.step, steps - len(losses)
            run = next((i for i in range(left) if not self._stepper.is_full(first + i)), left)
            losses += self._made(run, idle) if run else step_by_step(self._stepper, 1, idle)
        return losses

    def _made(self, steps: int, idle: Sequence[int]) -> list[Tensor]:
        """Steps with full batches, by a graph where it may."""
        own, step = self._stepper.own_tensors(), self._stepper.step
        known, rows = self._memory
        if own.keys() != known.keys() or any(own[n] is not t for n, t in known.items()) or list(idle) != rows:
            self._memory, self._since, self._graph = (own, list(idle)), step, None
        if self._graph is not None:
            return self._graph.make(steps)
        if self._may and steps > 1 and step - self._since >= _PAYS and self._total - step >= _PAYS:
            return self._proved(steps, idle)
        return step_by_step(self._stepper, steps, idle)

    def _proved(self, steps: int, idle: Sequence[int]) -> list[Tensor]:
        """Steps made twice, one by one and by a new graph, which stays if all bits are equal."""
        stepper, first = self._stepper, self._stepper.step
        before = _copies(stepper.own_tensors())
        losses = step_by_step(stepper, steps, idle)
        after = _copies(stepper.own_tensors())
        try:
            stepper.load(before, first)
            graph = StepGraph(stepper, idle, losses[0])
            stepper.load(before, first)
            given = graph.make(steps)
            odd = _different({**stepper.own_tensors(), "losses": torch.stack(given)}, after, torch.stack(losses))
            if odd is None:
                self._graph, self.note = graph, f"CUDA graphs from step {first}"
                return given
            reason = f"captured steps compute other bits of {odd}"
        except RuntimeError as e:  # if the device itself has failed, so does the next call
            reason = f"a step can't be captured ({_cause(e)})"
        stepper.load(after, first + steps)
        self._may, self.note = False, f"no CUDA graphs: {reason}"
        return losses


def step_by_step(stepper: Stepper, steps: int, idle: Sequence[int]) -> list[Tensor]:
    """The next steps, each by its own launches; their losses [K] each."""
    losses = []
    for _ in range(steps):
        stepper.gradients()
        losses.append(stepper.update(idle))
    return losses


@contextmanager
def _no_waits() -> Iterator[None]:
    """While this lasts, what makes the host wait for the GPU is an error, as far as torch knows of it."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _cause(error: BaseException) -> str:
    """The first line of what went wrong first: the end of a capture that failed is an error too."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in tensors.items()}


def _different(given: Mapping[str, Tensor], after: Mapping[str, Tensor], losses: Tensor) -> str | None:
    """The first tensor whose bits a captured run has otherwise; None: all are equal, those of nan too."""
    wanted = {**after, "losses": losses}
    return next((name for name, t in wanted.items() if not torch.equal(_bits(given[name]), _bits(t))), None)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)
