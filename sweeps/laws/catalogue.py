"""All laws. A new one is one file with a subclass of `Law`, and its instance here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.annealing import ANNEALING, ANNEALING_CURVES
from landsweep.sweeps.laws.base import Law
from landsweep.sweeps.laws.broken_power import BROKEN_POWER, BrokenPower
from landsweep.sweeps.laws.chinchilla import CHINCHILLA
from landsweep.sweeps.laws.continual import CONTINUAL
from landsweep.sweeps.laws.critical_batch import CRITICAL_BATCH
from landsweep.sweeps.laws.data_constrained import DATA_CONSTRAINED
from landsweep.sweeps.laws.deceleration import DECELERATION
from landsweep.sweeps.laws.kaplan import KAPLAN_COMPUTE, KAPLAN_DATA, KAPLAN_SIZE
from landsweep.sweeps.laws.kaplan_joint import KAPLAN_JOINT
from landsweep.sweeps.laws.kaplan_offset import KAPLAN_OFFSET
from landsweep.sweeps.laws.kaplan_steps import KAPLAN_STEPS
from landsweep.sweeps.laws.loss_to_loss import LOSS_TO_LOSS
from landsweep.sweeps.laws.mixture_additive import MIXTURE_ADDITIVE, MixtureAdditive
from landsweep.sweeps.laws.mixture_exponential import MIXTURE_EXPONENTIAL, MixtureExponential
from landsweep.sweeps.laws.mixture_joint import MIXTURE_JOINT, MixtureJoint
from landsweep.sweeps.laws.multi_power import MULTI_POWER
from landsweep.sweeps.laws.optimal_settings import OPTIMAL_BATCH, OPTIMAL_RATE
from landsweep.sweeps.laws.power import POWER, POWER_OFFSET
from landsweep.sweeps.laws.random_features import RANDOM_FEATURES
from landsweep.sweeps.laws.rectified import RECTIFIED
from landsweep.sweeps.laws.resolution_limited import RESOLUTION_LIMITED
from landsweep.sweeps.laws.steps_batch import STEPS_BATCH
from landsweep.sweeps.laws.steps_to_target import STEPS_TO_TARGET
from landsweep.sweeps.laws.task_sigmoid import TASK_SIGMOID
from landsweep.sweeps.laws.ticket_ensembling import TICKET_ENSEMBLING
from landsweep.sweeps.laws.transferred_data import TRANSFERRED_DATA
from landsweep.sweeps.laws.two_stacks import TWO_STACKS
from landsweep.sweeps.laws.variance_limited import VARIANCE_LIMITED
from landsweep.sweeps.laws.wall_clock import WALL_CLOCK

__all__ = ["FAMILIES", "LAWS", "law_named"]

LAWS: tuple[Law, ...] = (
    POWER,
    POWER_OFFSET,
    KAPLAN_SIZE,
    KAPLAN_DATA,
    KAPLAN_COMPUTE,
    KAPLAN_JOINT,
    KAPLAN_OFFSET,
    KAPLAN_STEPS,
    STEPS_BATCH,
    CRITICAL_BATCH,
    STEPS_TO_TARGET,
    CHINCHILLA,
    DATA_CONSTRAINED,
    MIXTURE_ADDITIVE,
    MIXTURE_JOINT,
    MIXTURE_EXPONENTIAL,
    BROKEN_POWER,
    DECELERATION,
    ANNEALING,
    ANNEALING_CURVES,
    MULTI_POWER,
    CONTINUAL,
    RECTIFIED,
    TRANSFERRED_DATA,
    LOSS_TO_LOSS,
    TASK_SIGMOID,
    OPTIMAL_RATE,
    OPTIMAL_BATCH,
    VARIANCE_LIMITED,
    RESOLUTION_LIMITED,
    RANDOM_FEATURES,
    TICKET_ENSEMBLING,
    WALL_CLOCK,
    TWO_STACKS,
)

FAMILIES: Mapping[str, Callable[[int], Law]] = {
    "broken_power": BrokenPower,
    "mixture_additive": MixtureAdditive,
    "mixture_exponential": MixtureExponential,
    "mixture_joint": MixtureJoint,
}
"""Laws with a number in their name, after a colon: breaks, or domains."""
_MOST = 12


def law_named(name: str) -> Law:
    """The law of this name; `broken_power:2` has two breaks, `mixture_joint:5` five domains.

    Raises:
        UsageError: there is none.
    """
    for law in LAWS:
        if law.name == name:
            return law
    family, _, number = name.partition(":")
    if family in FAMILIES and number.isdecimal() and 1 <= int(number) <= _MOST:
        return FAMILIES[family](int(number))
    if name in FAMILIES:
        what = "breaks" if name == "broken_power" else "domains"
        raise UsageError(f"{name} needs the number of {what} after a colon, 1 to {_MOST}, such as {name}:2")
    near = get_close_matches(name, [law.name for law in LAWS], n=3, cutoff=0.4)
    hint = f" (near it: {', '.join(near)})" if near else ""
    raise UsageError(
        f"there is no law {name!r}{hint}; `landsweep laws` lists them. "
        f"{', '.join(FAMILIES)} take a number after a colon, 1 to {_MOST}"
    )
