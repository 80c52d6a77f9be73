"""Tables of known laws with noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from landsweep.sweeps.laws.chinchilla import CHINCHILLA

TRUE = np.array([1.8, 480.0, 2100.0, 0.35, 0.37])


def chinchilla_table(n: int = 80, noise: float = 0.005, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    size, tokens = 10 ** random.uniform(7, 10, n), 10 ** random.uniform(8.5, 11.5, n)
    loss = CHINCHILLA.predict(TRUE[None], {"N": size, "D": tokens})[0]
    return pd.DataFrame({"N": size, "D": tokens, "loss": loss * np.exp(noise * random.standard_normal(n))})


def power_table(n: int = 30, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    x = np.geomspace(1e3, 1e9, n)
    return pd.DataFrame({"x": x, "y": 7 * x**-0.3 * np.exp(0.02 * random.standard_normal(n))})
