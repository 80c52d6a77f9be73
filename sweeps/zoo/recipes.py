"""The recipe of each unit of a zoo: a named variant of the base, swept fields, a seed, and perhaps a branch."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.canonical import decoded
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.branching import BranchingRecipes
from landsweep.sweeps.lab.training_units.conflicts import Write, refuse_lost_settings, refuse_set_seed
from landsweep.sweeps.lab.training_units.cooldown import branch
from landsweep.sweeps.lab.training_units.recipes import SAMPLE, SEED, VARIANT, RecipeFields, short_path, shorter_first
from landsweep.sweeps.zoo.spec import BRANCH, ZooSpec

__all__ = ["ZooRecipes"]


class ZooRecipes(BranchingRecipes):
    """Turns the params of main runs and branches into recipes.

    Args:
        spec: of the zoo.
    """

    def __init__(self, spec: ZooSpec) -> None:
        self._base = RecipeFields(spec.recipe)
        self._variants, self._branches = spec.recipes, spec.branches

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        main, name = self.main(params, source), params.get(BRANCH)
        return main if name is None else branch(main, self._branches[str(name)])

    def main(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        fields = self._base
        if VARIANT in params:
            for path, value in self._variants[str(params[VARIANT])].items():
                fields = fields.set(short_path(path), value)
        fields = fields.set_all({path: decoded(value) for path, value in _swept(params).items()})
        return (fields.set(SEED, params[SEED]) if SEED in params else fields).recipe(source)

    def leaves(self, params: Mapping[str, Value]) -> int | None:
        name = params.get(BRANCH)
        return None if name is None else self._branches[str(name)].at

    def departures(self, params: Mapping[str, Value]) -> Collection[int]:
        del params  # all main runs have the same branches
        return {cooldown.at for cooldown in self._branches.values()}

    def check(self, params: Mapping[str, Value], parts: Mapping[str, str] = {}) -> None:
        """Whether nothing that a part of the spec sets is overwritten by another part.

        Args:
            params: of a unit.
            parts: in which part of the spec a param stands; one that is not among them stands in `axes`.

        Raises:
            SpecError: something would be.
        """
        writes: list[Write] = []
        if VARIANT in params:
            who = f"recipes.{params[VARIANT]}"
            writes += [(who, short_path(p), v) for p, v in self._variants[str(params[VARIANT])].items()]
        swept = _swept(params)
        writes += [(f"{parts.get(path, 'axes')}.{path}", path, swept[path]) for path in shorter_first(swept)]
        refuse_set_seed(writes)
        refuse_lost_settings(writes)


def _swept(params: Mapping[str, Value]) -> dict[str, Value]:
    """The params that are fields of the recipe."""
    return {path: value for path, value in params.items() if path not in (VARIANT, SAMPLE, SEED, BRANCH)}
