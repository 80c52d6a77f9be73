"""A zoo in the layout of the small CNN zoos (arXiv 2002.11448), without their 10 GB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["small_cnn_zoo"]


def small_cnn_zoo(folder: Path) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Three runs with three checkpoints each, in the published layout, channels of the width 16."""
    names = ["conv2d", "conv2d_1", "conv2d_2", "dense"]
    shapes = [[(16,), (3, 3, 1, 16)], [(16,), (3, 3, 16, 16)], [(16,), (3, 3, 16, 16)], [(10,), (16, 10)]]
    lines, start = [], 0
    for name, pair in zip(names, shapes, strict=True):
        for what, shape in zip(("bias", "kernel"), pair, strict=True):
            end = start + int(np.prod(shape))
            lines.append({"varname": f"sequential/{name}/{what}:0", "start_idx": start, "end_idx": end, "shape": shape})
            start = end
    assert start == 4970, "as published"
    pd.DataFrame(lines).to_csv(folder / "layout.csv", index=False)
    table = pd.DataFrame(
        [
            {"config.activation": act, "config.learning_rate": lr, "config.random_seed": 42, "config.dataset": "mnist",
             "modeldir": f"run/{i}", "step": step, "test_accuracy": 0.1 * i + step / 1000, "laststep": step == 86}
            for i, (act, lr) in enumerate([("relu", 0.1), ("tanh", 0.01), ("relu", 0.001)])
            for step in (0, 20, 86)
        ]
    )  # fmt: skip
    table.to_csv(folder / "metrics.csv.gz")
    weights = np.random.default_rng(0).normal(size=(9, 4970)).astype(np.float32)
    np.save(folder / "weights.npy", weights)
    return table, weights
