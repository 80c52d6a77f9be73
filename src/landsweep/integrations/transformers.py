"""Hugging Face's Trainer in a sweep: `Trainer(..., callbacks=[SweepCallback()])` reports its logs, and stops.

    from landsweep import unit
    from landsweep.integrations.transformers import SweepCallback, last_checkpoint

    arguments = TrainingArguments(output_dir=unit.checkpoint_dir, report_to=[], ...)
    trainer = Trainer(model, arguments, train_dataset=data, callbacks=[SweepCallback()])
    trainer.train(resume_from_checkpoint=last_checkpoint())

Works in functions of the kinds `function` and `search`, in scripts that `command` starts, and alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from landsweep import unit

__all__ = ["SweepCallback", "last_checkpoint"]


class SweepCallback(TrainerCallback):  # type: ignore[misc]  # of a package that need not be there
    """Reports the numbers of each log by the global step, and ends training when the unit should stop."""

    def __init__(self) -> None:
        self._step = -1
        self._reported: set[str] = set()

    def on_log(
        self, args: object, state: TrainerState, control: object, logs: Mapping[str, object] | None = None, **_: object
    ) -> None:
        """Report."""
        if not state.is_world_process_zero:
            return
        if state.global_step > self._step:
            self._step, self._reported = state.global_step, set()
        numbers = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, Real)}
        # A metric has one value at a step: the first; an evaluation after it adds its own.
        if new := {name: value for name, value in numbers.items() if name not in self._reported}:
            self._reported |= new.keys()
            unit.report(state.global_step, **new)

    def on_step_end(self, args: object, state: object, control: TrainerControl, **_: object) -> None:
        """Stop, if the unit should."""
        if unit.should_stop():
            control.should_training_stop = True


def last_checkpoint() -> str | None:
    """The checkpoint of an earlier attempt, for `Trainer.train(resume_from_checkpoint=...)`; None: there is none."""
    last: str | None = get_last_checkpoint(str(unit.checkpoint_dir))
    return last
