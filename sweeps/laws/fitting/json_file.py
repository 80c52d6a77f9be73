"""A fit as a JSON file: plain numbers, no pickle. It predicts as the fit itself does; only the points are left out."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.catalogue import law_named
from landsweep.sweeps.laws.fitting.bounds import bounded, narrowed
from landsweep.sweeps.laws.fitting.fitted import Convergence, Fit, HeldOut
from landsweep.sweeps.laws.fitting.lack_of_fit import lack_of_fit
from landsweep.sweeps.laws.fitting.objective import Objective
from landsweep.sweeps.laws.fitting.points import Selection

__all__ = ["FORMAT", "fields", "load_fit", "restore", "save_fit"]

FORMAT = 1
_NAMES = ("at_bound", "open_low", "open_high")  # of parameters


def fields(fit: Fit) -> dict[str, Any]:
    """Everything that JSON can hold about a fit: what is needed to read it again, and the table of parameters."""
    table = fit.parameters().to_dict("records")
    content: dict[str, Any] = {
        "format": FORMAT,
        "law": fit.law.name,
        "formula": fit.law.formula,
        "parameters": table,
        "objective": {**asdict(fit.objective), "value": fit.value, "text": fit.objective.text},
        "convergence": {**asdict(fit.convergence), "converged": fit.converged},
        "rmse": fit.rmse,
        "held_out": None if fit.held is None else asdict(fit.held),
        "selection": None if fit.selection is None else asdict(fit.selection),
        "digest": fit.digest,
        "lack_of_fit": None if (tested := lack_of_fit(fit)) is None else asdict(tested),
        "fixed": list(fit.fixed),
        "bounds": {name: list(ends) for name, ends in narrowed(fit.law, law_named(fit.law.name)).items()},
        "ranges": {name: list(ends) for name, ends in fit.ranges.items()},
        "theta": fit.theta.tolist(),
        "covariance": fit.covariance.tolist(),
        "residuals": fit.residuals.tolist(),
        "draws": None if fit.draws is None else fit.draws.tolist(),
    }
    plain: dict[str, Any] = _finite(content)
    return plain


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Numbers that JSON does not know become null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_fit(fit: Fit, path: Path) -> None:
    """Write a fit."""
    path.write_text(json.dumps(fields(fit), allow_nan=False) + "\n", encoding="utf-8")


def load_fit(path: Path) -> Fit:
    """Read a fit that `save_fit` has written.

    Raises:
        UsageError: the file is none, or its law is unknown.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return restore(data)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UsageError(f"{path} holds no fit that can be read: {type(e).__name__}: {e}") from e


def restore(data: dict[str, Any]) -> Fit:
    """A fit from what `fields` gave.

    Raises:
        KeyError, TypeError, ValueError: something is missing or of the wrong form.
    """
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
    objective, selection = data["objective"], data["selection"]
    if selection is not None:
        selection = Selection(
            **{**selection, **{k: tuple(selection.get(k, ())) for k in ("exclude", "holdout", "notes")}}
        )
    bounds = {
        name: (-math.inf if low is None else low, math.inf if high is None else high)
        for name, (low, high) in data.get("bounds", {}).items()
    }
    return Fit(
        law=bounded(law_named(data["law"]), bounds),
        theta=np.array(data["theta"], np.float64),
        objective=Objective(objective["name"], objective["delta"] or math.inf, objective["log"]),
        value=objective["value"],
        convergence=_convergence(data["convergence"]),
        covariance=np.array(data["covariance"], np.float64),
        draws=None if data["draws"] is None else np.array(data["draws"], np.float64),
        fixed=tuple(data["fixed"]),
        residuals=np.array(data["residuals"], np.float64),
        ranges={name: (low, high) for name, (low, high) in data["ranges"].items()},
        selection=selection,
        digest=data["digest"],
        held=None if data["held_out"] is None else HeldOut(**_numbers(data["held_out"])),
    )


def _numbers(data: dict[str, Any]) -> dict[str, Any]:
    """The same with nan for null."""
    return {name: math.nan if value is None else value for name, value in data.items()}


def _convergence(data: dict[str, Any]) -> Convergence:
    """What was stored of it, less what follows from the rest."""
    fields = {name: value for name, value in data.items() if name != "converged"}
    fields |= {name: tuple(fields.get(name, ())) for name in _NAMES}
    fields["condition"] = fields["condition"] or math.inf
    return Convergence(**fields)
