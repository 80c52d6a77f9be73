"""Between a search's rows and Optuna's own tools: importances, and studies in a storage for its dashboard."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.search.planner import StudyPlanner
from landsweep.orchestrator.search.space import Dimension
from landsweep.orchestrator.search.study import Goal, Search, as_option, directions, distribution

__all__ = ["best_points", "importances", "write_study"]

_NUMBER, _SWEEP = "trial", "landsweep.sweep"  # attributes of exported trials and studies
_FEWEST = 8  # trials from which importances are computed


def importances(
    dimensions: Sequence[Dimension], goal: Goal, trials: Sequence[tuple[Mapping[str, Value], float]]
) -> dict[str, float]:
    """How much each setting decides whether a trial is among the best: PED-ANOVA (arXiv 2304.10255), summing to 1.

    Args:
        dimensions: that all of these trials have.
        goal: which way is better.
        trials: values by name, and the goal's finite value.

    Returns:
        Nothing where there are too few trials, or no setting varies.
    """
    if len(trials) < _FEWEST or len({v for _, v in trials}) < 2:
        return {}
    spaces = {d.name: distribution(d) for d in dimensions}
    study = optuna.create_study(direction="minimize" if goal.minimise else "maximize")
    for values, value in trials:
        params = {d.name: as_option(d, values[d.name]) for d in dimensions}
        study.add_trial(create_trial(params=params, distributions=dict(spaces), value=value))
    from optuna.importance import get_param_importances  # here: scikit-learn comes with it, and only reports need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: float(share) for name, share in get_param_importances(study).items()}


def write_study(planner: StudyPlanner, search: Search, url: str, sweep_id: str) -> tuple[int, int]:
    """Write the trials that have ended to a storage of Optuna; those that are there already stay.

    Args:
        planner: one to which all rows were told.
        search: goals and dimensions of the sweep.
        url: such as `sqlite:///study.db`; the study has the search's name.
        sweep_id: of the search's sweep: the study belongs to it alone.

    Returns:
        How many trials were written, and how many of the search the study now has.

    Raises:
        UsageError: the storage can't be opened, or holds a study of that name that is not this search's.
    """
    study = _study(url, search)
    ours = [t for t in planner.study.get_trials(deepcopy=False) if t.state.is_finished()]
    _claim(study, ours, url, sweep_id)
    if [d.name.lower() for d in study.directions] != directions(search):
        raise UsageError(f"{redacted(url)} holds a study {search.name!r} with other goals; give another storage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([g.metric for g in search.goals])
    written_before = {t.user_attrs[_NUMBER] for t in study.get_trials(deepcopy=False) if _NUMBER in t.user_attrs}
    new = [t for t in ours if t.number not in written_before]
    for t in new:
        began, ended = planner.span(t.number)
        written = create_trial(
            state=t.state,
            values=t.values,
            params=t.params,
            distributions=t.distributions,
            user_attrs={_NUMBER: t.number},
            intermediate_values=t.intermediate_values,
        )
        # Optuna's times are local and without a zone
        written.datetime_start, written.datetime_complete = map(datetime.fromtimestamp, (began, ended))
        study.add_trial(written)
    return len(new), len(written_before) + len(new)


def _claim(study: optuna.Study, ours: Sequence[FrozenTrial], url: str, sweep_id: str) -> None:
    """Make sure that a study is this sweep's: new, its own, or one that it wrote before studies noted their sweep."""
    owner = study.user_attrs.get(_SWEEP)
    if owner == sweep_id:
        return
    params = {t.number: t.params for t in ours}
    trials = study.get_trials(deepcopy=False)
    if owner is not None or any(params.get(t.user_attrs.get(_NUMBER, -1)) != t.params for t in trials):
        raise UsageError(
            f"{redacted(url)} holds a study {study.study_name!r} of another search, and their trials would mix; give "
            "another storage"
        )
    study.set_user_attr(_SWEEP, sweep_id)


def _study(url: str, search: Search) -> optuna.Study:
    try:
        return optuna.create_study(
            storage=url, study_name=search.name, directions=directions(search), load_if_exists=True
        )
    except Exception as e:  # a storage may fail in any way of its library
        raise UsageError(f"the storage {redacted(url)} can't be used: {_first_line(e)}") from e


def best_points(url: str, name: str, n: int) -> list[dict[str, Any]]:
    """Values of the best trials of any study, by its first goal: start points for a search.

    Raises:
        UsageError: there is no such storage or study, or it has no trial that is complete.
    """
    file = url.partition(":///")[2].partition("?")[0]
    if url.startswith("sqlite") and not file.startswith("file:") and not Path(file).is_file():
        raise UsageError(f"{redacted(url)}: there is no file {file!r}")  # SQLite would make one
    try:
        study = optuna.load_study(study_name=name, storage=url)
    except KeyError as e:
        names = ", ".join(optuna.get_all_study_names(url)) or "none"
        raise UsageError(f"{redacted(url)} has no study {name!r}; it has {names}") from e
    except Exception as e:  # a storage may fail in any way of its library
        raise UsageError(f"the storage {redacted(url)} can't be used: {_first_line(e)}") from e
    sign = 1 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else -1
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        raise UsageError(f"the study {name!r} has no complete trial")
    return [dict(t.params) for t in sorted(done, key=lambda t: sign * t.values[0])[:n]]


def _first_line(error: Exception) -> str:
    """Of what a library says, which may name the address again."""
    return next(iter(redacted(str(error)).splitlines()), type(error).__name__)[:200]
