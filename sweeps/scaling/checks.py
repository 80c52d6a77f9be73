"""What the fields of a study must be together: a law that can be fitted to the plan, and larger runs to test it."""

from __future__ import annotations

from pathlib import Path

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.outline import foresee_recipe
from landsweep.sweeps.laws.base import Law
from landsweep.sweeps.laws.catalogue import LAWS, law_named
from landsweep.sweeps.laws.fitting.problem import checked_fixed
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.plan import cells, horizons_of
from landsweep.sweeps.scaling.spec import ScalingSpec

__all__ = ["check_own_sizes", "check_study"]


def check_study(spec: ScalingSpec) -> None:
    """Refuse a study whose plan can't be made, or whose law can't be fitted to it.

    Raises:
        SpecError: names the field, what was planned and what is needed.
    """
    if spec.recipe is not None:
        foresee_recipe(spec.recipe)
    law = _law_of(spec)
    fitted = cells(spec, Ladder(spec))
    horizons_of(spec, fitted)
    least = law.least_points - len(spec.fixed)
    if len(fitted) < least:
        raise SpecError(
            f"the plan has {len(fitted)} sizes and horizons, but the law needs at least {least}: one more than it has "
            "parameters; add widths, budgets or ratios"
        )
    largest = fitted[0].flops
    for budget in spec.test_budgets:
        if budget <= largest:
            raise SpecError(
                f"validate.budgets: {budget:.3g} FLOPs is not above the largest run that is fitted, {largest:.3g} FLOPs"
            )


def check_own_sizes(spec: ScalingSpec, folder: Path) -> None:
    """Build every network of the plan that is the user's own, and compare it with what the spec declares.

    Raises:
        SpecError: it holds or costs something else.
    """
    if spec.recipe is None or spec.shape.own is None or (data := spec.recipe.data.dimensions()) is None:
        return
    ladder = Ladder(spec)
    for width in spec.width_values:
        net = ladder.size(width).net
        assert isinstance(net, OwnNet), "the ladder refuses other networks"
        spec.shape.own.check(net, data, folder)


def _law_of(spec: ScalingSpec) -> Law:
    """The study's law, which must be one of the loss over N and D, and have the parameters that are fixed."""
    try:
        law = law_named(spec.law)
    except UsageError as e:
        raise SpecError(f"law: {e}") from e
    if not _of_size_and_tokens(law):
        usable = ", ".join(other.name for other in LAWS if _of_size_and_tokens(other))
        raise SpecError(
            f"law: a study fits the loss as a law of N and D: {usable}; {spec.law} gives {law.output.name} from "
            f"{', '.join(q.name for q in law.inputs)}"
        )
    try:
        checked_fixed(law, spec.fixed)
    except UsageError as e:
        raise SpecError(str(e)) from e
    return law


def _of_size_and_tokens(law: Law) -> bool:
    return {q.name for q in law.inputs} == {"N", "D"} and law.output.name == "loss"
