"""Scaling studies that tests share: planned ones, ones whose rows obey a law, ones with branches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from landsweep.sweeps.scaling.kind import ScalingKind, ScalingSpec
from landsweep.sweeps.scaling.ladder import Ladder

KIND = ScalingKind()
GPT_RECIPE = {
    "data": {"source": "markov", "states": 64, "context": 16, "train": 1000},
    "net": {"net": "gpt", "depth": 1, "heads": 2},
    "optimizer": {"method": "adam", "learning_rate": 0.02},
    "batch_size": 32,
    "evaluate": {"splits": ["test"]},
}
GPT_STUDY: dict[str, Any] = {
    "kind": "scaling",
    "name": "study",
    "recipe": GPT_RECIPE,
    "widths": [8, 12, 16, 24, 32],
    "shape": {"head_width": 4},
    "budgets": [1e9, 3e9],
}


def study_spec(**changes: Any) -> ScalingSpec:
    return KIND.parse({k: v for k, v in {**GPT_STUDY, **changes}.items() if v is not None}, "spec")


E, A, B, ALPHA, BETA = 2.0, 300.0, 400.0, 0.8, 0.6


def true_loss(n: Any, d: Any) -> Any:
    return E + A / n**ALPHA + B / d**BETA


def rows_of_the_law(spec: ScalingSpec, noise: float = 0.0) -> pd.DataFrame:
    """Rows as training would leave them if the law were true, with relative noise."""
    ladder, random, rows = Ladder(spec), np.random.default_rng(0), []
    for unit in KIND.planner(spec).ask(10_000):
        size, steps = ladder.size(int(unit.params["width"] or 0)), int(unit.params["steps"] or 0)
        tokens = steps * size.step_tokens
        loss = true_loss(size.parameters, tokens) * math.exp(noise * random.standard_normal())
        rows.append(
            {"key": unit.key, **unit.params, "status": "ok", "test_loss": loss, "parameters": size.parameters,
             "body_parameters": size.body, "tokens": tokens, "flops": float(steps * size.step_flops)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def wide_study(**changes: Any) -> ScalingSpec:
    return study_spec(**{"widths": [4, 8, 12, 16, 24, 32, 48], "budgets": {"geometric": [1e9, 1e11, 5]}, **changes})


def feature_study(**changes: Any) -> ScalingSpec:
    base = {"recipe": None, "features": {"ambient": 128}, "shape": None, "widths": [4, 8, 16, 32], "bootstrap": 50}
    return study_spec(**{**base, "budgets": [1e4, 4e4], "limits": {"least_steps": 50}, **changes})


WSD = {"shape": "wsd", "warmup_steps": 5, "cooldown": 0.25}
BRANCHED_RECIPE: dict[str, Any] = {
    "data": {"source": "teacher_student", "features": 8, "hidden": [16], "train": 2048, "test": 64},
    "net": {"net": "mlp", "hidden": [4]},
    "optimizer": {"method": "adam", "learning_rate": 0.03},
    "schedule": WSD,
    "batch_size": 64,
    "evaluate": {"splits": ["test"], "every_steps": 5},
}
BRANCHED_STUDY: dict[str, Any] = {
    "kind": "scaling",
    "name": "branched",
    "recipe": BRANCHED_RECIPE,
    "widths": [2, 4, 8],
    "budgets": [1e5, 2e5, 4e5],
    "limits": {"least_steps": 8},
    "horizons": "branches",
    "seeds": {"range": 2},
    "backend": "bmm",
    "bootstrap": 0,
}


def branched_study(**changes: Any) -> ScalingSpec:
    return KIND.parse({k: v for k, v in {**BRANCHED_STUDY, **changes}.items() if v is not None}, "spec")
