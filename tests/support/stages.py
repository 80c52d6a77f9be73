"""Two stages that take seconds: perceptrons are trained, then measured."""

from __future__ import annotations

from typing import Any

__all__ = ["MEASURE", "TRAIN"]

TRAIN: dict[str, Any] = {
    "kind": "zoo",
    "recipe": {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [4]},
        "optimizer": {"method": "sgd", "learning_rate": 0.1},
        "steps": 20,
        "batch_size": 32,
        "evaluate": {"splits": ["test"]},
    },
    "seeds": {"range": 2},
}
MEASURE: dict[str, Any] = {
    "kind": "measure",
    "of": [{"sweep": "stage:train"}],
    "measures": {"loss": {"measure": "losses", "evaluator": "test"}},
    "evaluators": {"test": {"split": "test"}},
}
