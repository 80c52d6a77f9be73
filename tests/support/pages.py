"""Functions whose sweeps the web application shows in tests."""

from __future__ import annotations

import time
from pathlib import Path

from landsweep import unit

__all__ = ["curved", "gated", "noisy"]

EVIL = "<script>window.evil = 1</script><img src=x onerror=window.evil=2>\x1b[31mred\u202eltr" + "y" * 10_000


def noisy(x: float, method: str) -> dict[str, object]:
    """A few curves; it fails with a hostile text beyond 2, and prints one."""
    print(EVIL)
    for step in range(5):
        unit.report(step, loss=x + 1 / (step + 1), **{"<b>bold</b>": float(step)})
    if x > 2:
        raise ValueError(EVIL)
    return {"loss": x, "said": EVIL, "i": int(x * 10)}


def gated(i: int, folder: str) -> dict[str, float]:
    """Reports until there is a file with its number."""
    step = 0
    while not (Path(folder) / f"go-{i}").exists():
        time.sleep(0.05)
        unit.report(step, loss=float(i + step))
        step += 1
    return {"loss": float(i)}


def curved(lr: float) -> dict[str, float]:
    """A loss that falls."""
    for step in range(20):
        unit.report(step, loss=(1 - lr) ** step)
    return {"loss": (1 - lr) ** 20}
