"""A function for `measure: own`: how criteria of the Hessian and the accuracy change from one data set to another."""

from __future__ import annotations

from landsweep.orchestrator.row import Metric
from landsweep.sweeps.lab.losses import right_answers
from landsweep.sweeps.measure.measures.lla import Lla
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject

__all__ = ["criterion_changes"]


def criterion_changes(subject: Subject, start: str, end: str, steps: int = 50, runs: int = 1) -> dict[str, Metric]:
    """Differences of r_e, of K_Hn (see the measure `lla`) and of the accuracy, `end` less `start`.

    arXiv 2412.10146 compares criteria on two data sets in this way.

    Args:
        subject: one model.
        start: evaluator of the first data set.
        end: evaluator of the second.
        steps: of each Lanczos run.
        runs: how many, from the same random vectors on both sets.
    """
    (model,) = subject.models
    before, after = (_criteria(subject, name, steps, runs) for name in (start, end))
    known = all(v is not None for v in (*before, *after))
    return {
        "re_change": after[0] - before[0] if known else None,  # type: ignore[operator]
        "khn_change": after[1] - before[1] if known else None,  # type: ignore[operator]
        "accuracy_change": _accuracy(model, subject.samples[end]) - _accuracy(model, subject.samples[start]),
    }


def _criteria(subject: Subject, evaluator: str, steps: int, runs: int) -> tuple[float | None, float | None]:
    measured = next(iter(Lla(measure="lla", evaluator=evaluator, steps=steps, runs=runs).compute([subject])))
    ratio, against = measured.values["lla_re"], measured.values["lla_khn"]
    return (
        float(ratio) if isinstance(ratio, float) else None,
        float(against) if isinstance(against, float) else None,
    )


def _accuracy(model: StoredModel, samples: Samples) -> float:
    module = model.build().requires_grad_(False)
    return sum(float(right_answers(module(x), y).sum()) for x, y in samples.batches()) / len(samples)
