"""The best settings of a search as a spec of their own, ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic import ValidationError

from landsweep.orchestrator.axes import Axis
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.text import one_line
from landsweep.orchestrator.trust import refuse_new_code
from landsweep.sweeps.lab.programs.words import FIXED, names_in
from landsweep.sweeps.search.spec import SearchSpec
from landsweep.sweeps.search.table import best_first, trials_of, values_of
from landsweep.sweeps.search.trials import TRIAL, TrialRecipes, arguments

__all__ = ["best_spec", "best_text"]


def best_spec(spec: SearchSpec, line: pd.Series) -> dict[str, Any]:
    """A zoo of one setting and the search's seeds, or a sweep of one call of the function or program.

    Args:
        spec: of the search.
        line: of the trial, as `trials_of` gives it.

    Raises:
        UsageError: all arguments of the function hold nan or inf, which no axis does.
    """
    values = values_of(line, spec.dimensions())
    name = f"{spec.name}-trial-{int(line[TRIAL])}"
    if spec.recipe is not None:
        recipe = TrialRecipes(spec).of(values)
        fields = recipe.model_dump(mode="json", exclude={"seed", "checkpoints"}, exclude_none=True)
        return {"kind": "zoo", "name": name, "recipe": fields, "seeds": {"range": spec.seeds}}
    chosen = arguments(spec.space, values)
    if spec.command is not None:
        return _command_spec(spec, name, chosen)
    fixed = {**spec.fixed, **chosen}
    swept: dict[str, Any] = {spec.seed_argument: {"range": spec.seeds}} if spec.seed_argument is not None else {}
    if not swept:  # a sweep has an axis
        names = [name for name in [*chosen, *spec.fixed] if _on_an_axis(fixed[name])]
        first = min(names, key=lambda name: isinstance(fixed[name], list | dict), default=None)  # a plain value, if any
        if first is None:
            raise UsageError(
                f"trial {int(line[TRIAL])} can't be a function sweep: an axis holds no nan or inf, "
                f"and all arguments do: {fixed}"
            )
        swept = {first: [fixed.pop(first)]}
    about = {"function": spec.function, **({"setup": spec.setup} if spec.setup is not None else {})}
    return {"kind": "function", "name": name, **about, "version": spec.version, "fixed": fixed, "axes": swept}


def _command_spec(spec: SearchSpec, name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep of the program with one value on each axis; words of settings that this trial lacks are left out."""
    assert spec.command is not None
    if lost := [setting for setting, value in chosen.items() if value is not None and not _on_an_axis(value)]:
        raise UsageError(f"{name} can't be a command sweep: no axis holds {lost[0]}={chosen[lost[0]]!r}")
    has = {*chosen, *FIXED}
    program = spec.command.model_dump(mode="json", exclude_defaults=True)
    run = [word for word in spec.command.run if isinstance(word, str) or {n for w in word for n in names_in(w)} <= has]
    axes = {setting: [value] for setting, value in chosen.items()}
    seeds = {"seed": {"range": spec.seeds}} if "seed" in spec.command.names() else {}
    command = {**program, "run": [word if isinstance(word, str) else list(word) for word in run]}
    return {"kind": "command", "name": name, "command": command, "version": spec.version, "axes": {**axes, **seeds}}


def _on_an_axis(value: object) -> bool:
    try:
        return bool(Axis(values=(value,)).points())
    except ValidationError:
        return False


def best_text(spec: SearchSpec, rows: pd.DataFrame, trial: int | None = None) -> str:
    """The spec of one trial as YAML, with what it reached as a comment: by default the best by the first goal.

    Raises:
        UsageError: no trial has ended well, there is none of this number, or no sweep holds it.
        Untrusted: its row names code that the search's spec does not.
    """
    trials = trials_of(rows, [g.metric for g in spec.goals], spec.seeds)
    goal = spec.goals[0]
    chosen = best_first(trials, goal.metric, minimise=goal.minimise is not None)
    if trial is not None:
        chosen = trials[trials[TRIAL] == trial]
    if not len(chosen):
        reason = "no trial has ended well yet" if trial is None else f"there is no trial {trial} that has ended"
        raise UsageError(reason)
    line = chosen.iloc[0]
    reached = ", ".join(f"{g.metric} {line[g.metric]:.6g}" for g in spec.goals)
    over = f", mean over {spec.seeds} seeds" if spec.seeds > 1 else ""
    origin = f"Trial {int(line[TRIAL])} of the search {one_line(spec.name)} (n = {len(trials)} trials)"
    head = f"# {origin}: {reached}{over}.\n"
    if len(trials) > 1 and trial is None:
        head += "# The best of many trials looks better than it is; run it with further seeds before it is compared.\n"
    best = best_spec(spec, line)
    refuse_new_code(best, spec.model_dump(mode="json"), f"the row of trial {int(line[TRIAL])}")
    return head + write_yaml(best)
