"""Columns of every sweep whose units are trained models."""

from __future__ import annotations

from collections.abc import Iterable

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import BACKENDS, GANG_BACKENDS
from landsweep.sweeps.lab.training_units.meters import METERS

__all__ = ["trained_columns"]

_OUTCOME = (
    Column("best_test_accuracy", "highest test accuracy of all evaluations"),
    Column("best_test_loss", "lowest test loss of all evaluations"),
    Column("best_step", "step of the highest test accuracy; where there is none, of the lowest test loss", type="int"),
    Column("steps_done", "optimizer steps made", type="int"),
    Column("epochs_done", "passes through the training data made"),
    Column("gradient_evaluations", "gradients of one batch that were computed", type="int"),
    Column("diverged_step", "steps made when the loss became non-finite", type="int"),
    Column("parameters", "numbers that the network's parameters hold", type="int"),
    Column("split", "part of the zoo itself, by seed: train, val or test", type="text"),
    Column("checkpoints", "labels of the weights that were kept, by step, separated by spaces", type="text"),
)  # fmt: skip
*_SOME, _LAST = (*BACKENDS, *GANG_BACKENDS)
_SKIPPED = Column("skipped_steps", "steps that were left out: spikes of the loss, overflows of fp16", type="int")
_METERS = (
    Column("backend", f"how the pack was computed: {', '.join(_SOME)} or {_LAST}", type="text", meter=True),
    Column("backend_note", "which faster way was passed over, and why, or taken", type="text", meter=True),
    Column("pack_size", "models that trained as one stacked computation", type="int", meter=True),
    Column("devices", "devices that trained the model together", type="int", meter=True),
    Column("resumed_at", "step of the state that it went on from, where an earlier worker was lost", type="int",
           meter=True),
    *METERS,
    Column("weights_file", "file with the weights", type="text", meter=True, checksum="weights_checksum"),
    Column("weights_pack", "number of the pack in that file", type="int", meter=True),
    Column("weights_slot", "place of the model in the pack", type="int", meter=True),
    Column("weights_checksum", "BLAKE2b (16 bytes) of the file", type="text", meter=True),
)  # fmt: skip


def trained_columns(base: Recipe, others: Iterable[Recipe] = ()) -> tuple[Column, ...]:
    """All columns of a trained model.

    Args:
        base: the recipe that units are made from: its evaluation says on which splits of the data.
        others: recipes of units whose probes may differ; all that any of them measures has a column.
    """
    others = tuple(others)
    losses, more = [], []
    for split in base.evaluate.columns():
        losses.append(Column(f"{split}_loss", f"mean loss of the last evaluation on {split}"))
        losses.append(Column(f"{split}_accuracy", f"share of right samples of the last evaluation on {split}"))
        if split not in ("train", "test"):
            more.append(Column(f"best_{split}_accuracy", f"highest {split} accuracy of all evaluations"))
            more.append(Column(f"best_{split}_loss", f"lowest {split} loss of all evaluations"))
    skipped = (_SKIPPED,) if any(recipe.skips for recipe in (base, *others)) else ()
    measured = {name: doc for recipe in (base, *others) for name, doc in recipe.evaluate.measured().items()}
    return (*losses, *more, *_OUTCOME, *skipped, *(Column(name, doc) for name, doc in measured.items()), *_METERS)
