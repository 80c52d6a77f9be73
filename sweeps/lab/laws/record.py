"""A fit as a JSON file: plain numbers, no pickle. It predicts as the fit itself does; only the points stay behind."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import UsageError
from sweeps.lab.laws.cases import Selection
from sweeps.lab.laws.catalogue import law_named
from sweeps.lab.laws.objective import Objective
from sweeps.lab.laws.outcome import Convergence, Fit, HeldOut

__all__ = ["FORMAT", "fields", "load_fit", "restore", "save_fit"]

FORMAT = 1


def fields(fit: Fit) -> dict[str, Any]:
    """Everything that JSON can hold about a fit: what is needed to read it again, and the table of parameters."""
    table = fit.parameters().to_dict("records")
    found: dict[str, Any] = {
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
        "fixed": list(fit.fixed),
        "ranges": {name: list(ends) for name, ends in fit.ranges.items()},
        "theta": fit.theta.tolist(),
        "covariance": fit.covariance.tolist(),
        "residuals": fit.residuals.tolist(),
        "draws": None if fit.draws is None else fit.draws.tolist(),
    }
    plain: dict[str, Any] = _finite(found)
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
    objective, convergence, selection = data["objective"], data["convergence"], data["selection"]
    if selection is not None:
        selection = Selection(
            **{**selection, "exclude": tuple(selection["exclude"]), "holdout": tuple(selection["holdout"])}
        )
    return Fit(
        law=law_named(data["law"]),
        theta=np.array(data["theta"], np.float64),
        objective=Objective(objective["name"], objective["delta"] or math.inf, objective["log"]),
        value=objective["value"],
        convergence=Convergence(
            **{k: v for k, v in convergence.items() if k not in ("converged", "at_bound", "condition")},
            condition=convergence["condition"] or math.inf,
            at_bound=tuple(convergence["at_bound"]),
        ),
        covariance=np.array(data["covariance"], np.float64),
        draws=None if data["draws"] is None else np.array(data["draws"], np.float64),
        fixed=tuple(data["fixed"]),
        residuals=np.array(data["residuals"], np.float64),
        ranges={name: (low, high) for name, (low, high) in data["ranges"].items()},
        selection=selection,
        digest=data["digest"],
        held=None if data["held_out"] is None else HeldOut(**data["held_out"]),
    )
