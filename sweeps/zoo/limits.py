"""The plan of a zoo with `bisect`: both ends of every combination, then what the rows call for."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.bisection import Bisect, Bisection, BisectPlanner, judge
from landsweep.orchestrator.planner import check_total
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.lab.training_units.recipes import SEED, VARIANT, short_path
from landsweep.sweeps.zoo.plan import Grid
from landsweep.sweeps.zoo.recipes import ZooRecipes
from landsweep.sweeps.zoo.spec import ZooSpec

__all__ = ["bisection_of", "limits_planner"]


def bisection_of(spec: ZooSpec) -> tuple[Bisect, Bisection]:
    """The rule of a spec that has one, with its path as columns have it, and the search before any row.

    Raises:
        SpecError: there are too many combinations.
    """
    assert spec.bisect is not None
    rule, grid = spec.bisect.model_copy(update={"over": short_path(spec.bisect.over)}), Grid(spec)
    check_total(grid.total)
    return rule, Bisection(rule, grid, SEED)


def limits_planner(spec: ZooSpec, keys: Keys, schema: pa.Schema) -> BisectPlanner:
    """The planner of a spec with a rule.

    Args:
        spec: of the zoo.
        keys: of the sweep.
        schema: of the rows.

    Raises:
        SpecError: there are too many combinations.
        UsageError: the condition can't be read, or names a column that the rows will not have.
    """
    rule, bisection = bisection_of(spec)
    recipes = ZooRecipes(spec)

    def unit(params: Mapping[str, Value]) -> Unit:
        variant = {VARIANT: dict(spec.recipes[str(params[VARIANT])])} if VARIANT in params else None
        return keys.unit(params, variant, recipes.of(params).pack_key())

    return BisectPlanner(bisection, unit, judge(rule.holds, schema))
