"""Lightning in a sweep: `Trainer(callbacks=[SweepCallback()])` reports what a module logs, and stops when it should.

    from landsweep import unit
    from landsweep.integrations.lightning import SweepCallback, last_checkpoint

    trainer = Trainer(callbacks=[SweepCallback(checkpoint_every=1000)])
    trainer.fit(model, data, ckpt_path=last_checkpoint())

Works in functions of the kinds `function` and `search`, in scripts that `command` starts, and alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from lightning.pytorch import Callback
except ImportError:
    from pytorch_lightning import Callback

from landsweep import unit

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["SweepCallback", "last_checkpoint"]

_FILE = "last.ckpt"


class SweepCallback(Callback):  # type: ignore[misc]  # of a package that need not be there
    """Reports the numbers that a module has logged, by its global step, and ends training when the unit should stop.

    Args:
        every: steps between reports while training; validation reports as well.
        checkpoint_every: steps between checkpoints in `unit.checkpoint_dir`; None: there are none.
    """

    def __init__(self, every: int = 50, checkpoint_every: int | None = None) -> None:
        self._every, self._checkpoint_every = every, checkpoint_every
        self._step = self._saved = -1
        self._reported: set[str] = set()

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Report, save, stop."""
        step = trainer.global_step
        if step % self._every == 0:
            self._report(trainer)
        if self._checkpoint_every and step and step % self._checkpoint_every == 0 and step != self._saved:
            self._saved = step
            trainer.save_checkpoint(unit.checkpoint_dir / _FILE)
        if unit.should_stop():
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, *_: object) -> None:
        """Report, unless it is the check before training."""
        if not trainer.sanity_checking:
            self._report(trainer)

    def on_train_end(self, trainer: Trainer, *_: object) -> None:
        """Report what came since the last report."""
        self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        if step > self._step:
            self._step, self._reported = step, set()
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        # A metric has one value at a step: the first; validation after the last step of an epoch adds its own.
        if new := {name: value for name, value in numbers.items() if name not in self._reported}:
            self._reported |= new.keys()
            unit.report(step, **new)


def last_checkpoint() -> str | None:
    """The checkpoint of an earlier attempt, for `Trainer.fit(ckpt_path=...)`; None where there is none."""
    file = unit.checkpoint_dir / _FILE
    return str(file) if file.is_file() else None
