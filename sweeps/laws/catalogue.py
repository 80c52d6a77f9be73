"""All laws. A new one is one file with a subclass of `Law`, and its instance here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from orchestrator.errors import UsageError
from sweeps.lab.laws.annealing import ANNEALING, ANNEALING_CURVES
from sweeps.lab.laws.base import Law
from sweeps.lab.laws.broken_power import BROKEN_POWER, BrokenPower
from sweeps.lab.laws.chinchilla import CHINCHILLA
from sweeps.lab.laws.continual import CONTINUAL
from sweeps.lab.laws.critical_batch import CRITICAL_BATCH
from sweeps.lab.laws.data_constrained import DATA_CONSTRAINED
from sweeps.lab.laws.deceleration import DECELERATION
from sweeps.lab.laws.kaplan import KAPLAN_COMPUTE, KAPLAN_DATA, KAPLAN_SIZE
from sweeps.lab.laws.kaplan_joint import KAPLAN_JOINT
from sweeps.lab.laws.kaplan_offset import KAPLAN_OFFSET
from sweeps.lab.laws.kaplan_steps import KAPLAN_STEPS
from sweeps.lab.laws.loss_to_loss import LOSS_TO_LOSS
from sweeps.lab.laws.mixture_additive import MIXTURE_ADDITIVE, MixtureAdditive
from sweeps.lab.laws.mixture_exponential import MIXTURE_EXPONENTIAL, MixtureExponential
from sweeps.lab.laws.mixture_joint import MIXTURE_JOINT, MixtureJoint
from sweeps.lab.laws.multi_power import MULTI_POWER
from sweeps.lab.laws.optimal_settings import OPTIMAL_BATCH, OPTIMAL_RATE
from sweeps.lab.laws.power import POWER, POWER_OFFSET
from sweeps.lab.laws.random_features import RANDOM_FEATURES
from sweeps.lab.laws.rectified import RECTIFIED
from sweeps.lab.laws.resolution_limited import RESOLUTION_LIMITED
from sweeps.lab.laws.steps_to_target import STEPS_TO_TARGET
from sweeps.lab.laws.task_sigmoid import TASK_SIGMOID
from sweeps.lab.laws.ticket_ensembling import TICKET_ENSEMBLING
from sweeps.lab.laws.variance_limited import VARIANCE_LIMITED
from sweeps.lab.laws.wall_clock import WALL_CLOCK

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
    LOSS_TO_LOSS,
    TASK_SIGMOID,
    OPTIMAL_RATE,
    OPTIMAL_BATCH,
    VARIANCE_LIMITED,
    RESOLUTION_LIMITED,
    RANDOM_FEATURES,
    TICKET_ENSEMBLING,
    WALL_CLOCK,
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
