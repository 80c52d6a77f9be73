"""Measuring on one worker: subjects of one architecture are given to their measure together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Metric, Outcome, Progress, Status
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.measure.measures import Measure, Measured
from landsweep.sweeps.measure.plan import Plan, PlannedUnit, carried
from landsweep.sweeps.measure.sources import Sources
from landsweep.sweeps.measure.spec import MeasureSweepSpec
from landsweep.sweeps.measure.subject import Subject

__all__ = ["MeasureSession", "check_plan"]

_TOGETHER = 64  # subjects that a measure is given at once: bounds memory


class MeasureSession:
    """Measures the subjects of units.

    Args:
        spec: pinned.
        plan: its units.
        bench: device, threads and folder of this worker.
    """

    def __init__(self, spec: MeasureSweepSpec, plan: Plan, bench: Workbench) -> None:
        settle(bench)
        self._spec = spec
        self._planned = {planned.unit.key: planned for planned in plan}
        self._sources = Sources(spec, bench)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress]:
        """Curves as progress, then one outcome for each unit; a value that is not finite makes it `diverged`."""
        planned = [self._planned[unit.key] for unit in units]
        for _, pack in itertools.groupby(planned, key=lambda p: p.unit.pack):
            while part := list(itertools.islice(pack, _TOGETHER)):
                subjects = [self._sources.subject(p) for p in part]
                with settings_kept():
                    for one, measured in zip(part, self._measured(part[0].measure, subjects), strict=True):
                        yield from _curves(one.unit.key, measured)
                        yield _outcome(one, measured)

    def _measured(self, name: str, subjects: Sequence[Subject]) -> Iterator[Measured]:
        measure: Measure = self._spec.measures[name]
        try:
            yield from measure.compute(subjects)
        except UsageError as e:  # of this subject; as what it is, it would end the whole sweep
            raise RuntimeError(f"measures.{name}: {e}") from e


def check_plan(spec: MeasureSweepSpec, plan: Plan, bench: Workbench) -> None:
    """Look at every measure with the first subject of each architecture: whether it is defined, and takes the samples.

    Raises:
        SpecError: it is not; names the measure.
    """
    settle(bench)
    sources = Sources(spec, bench)
    looked_at = set()
    for planned in plan:
        if planned.unit.pack in looked_at:
            continue
        looked_at.add(planned.unit.pack)
        subject = sources.subject(planned)
        try:
            spec.measures[planned.measure].check(subject)
            _attempt(subject)
        except UsageError as e:
            raise type(e)(f"measures.{planned.measure}: {e}") from e
        except (RuntimeError, ValueError, TypeError, IndexError) as e:
            if of_the_machine(e):
                raise
            model = subject.models[0]
            raise UsageError(
                f"measures.{planned.measure}: the network of {model.key} does not take these samples: {e}"
            ) from e


@settings_kept()
@torch.no_grad()
def _attempt(subject: Subject) -> None:
    """Put two samples of each evaluator through the first network and the loss."""
    module = subject.models[0].build()
    for samples in subject.samples.values():
        losses = samples.loss(module(samples.inputs[:2]), samples.targets[:2])
        if losses.shape != samples.targets[:2].shape[:1]:
            raise ValueError(
                f"the loss of {samples.name} gives {list(losses.shape)} for two samples, but needs one number for each"
            )


def _curves(key: str, measured: Measured) -> Iterator[Progress]:
    longest = max((len(curve) for curve in measured.curves.values()), default=0)
    for i in range(longest):
        yield Progress(key, i, {name: float(curve[i]) for name, curve in measured.curves.items() if i < len(curve)})


def _outcome(planned: PlannedUnit, measured: Measured) -> Outcome:
    metrics: Mapping[str, Metric] = {**measured.values, **carried(planned.choice)}
    infinite = [n for n, v in measured.values.items() if isinstance(v, float) and not math.isfinite(v)]
    if infinite:
        values = ", ".join(f"{name} = {measured.values[name]}" for name in infinite)
        return Outcome(planned.unit.key, metrics, Status.diverged, error=f"not finite: {values}")
    return Outcome(planned.unit.key, metrics)
