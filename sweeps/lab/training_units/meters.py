"""How fast a model was trained, and how well it used its device: meters of its row."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Column, Metric
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.device import device_name
from landsweep.sweeps.lab.flops import training_flops
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended
from landsweep.sweeps.lab.training.calendar import samples_seen

__all__ = ["METERS", "Meters", "peak_of"]

METERS = (
    Column("device", "what the device is called that trained it", type="text", meter=True),
    Column("precision", "in which its products were computed", type="text", meter=True),
    Column("samples_per_second", "samples trained on, over its share of the pack's wall time", "1/s", meter=True),
    Column("tokens_per_second", "the same in tokens, of sequences", "1/s", meter=True),
    Column("mfu", "operations of its training per second, over the peak of the device in this precision", meter=True),
    Column("device_memory", "most memory of the GPU in use while its pack trained", "MB", meter=True),
)  # fmt: skip

# Dense FLOP/s by the makers' data sheets, without sparsity; a name fits if all its words are in that of the device, and
# the first that fits counts.
_PEAKS: Mapping[str, Mapping[str, float]] = {
    "H100 PCIe": {"float32": 51e12, "tf32": 378e12, "bf16": 756e12, "fp16": 756e12},
    "H100 NVL": {"float32": 60e12, "tf32": 417e12, "bf16": 835e12, "fp16": 835e12},
    "H200 NVL": {"float32": 60e12, "tf32": 417e12, "bf16": 835e12, "fp16": 835e12},
    "H100": {"float32": 67e12, "tf32": 494e12, "bf16": 989e12, "fp16": 989e12},
    "H200": {"float32": 67e12, "tf32": 494e12, "bf16": 989e12, "fp16": 989e12},
    "A100": {"float32": 19.5e12, "tf32": 156e12, "bf16": 312e12, "fp16": 312e12},
    "L40S": {"float32": 91.6e12, "tf32": 183e12, "bf16": 362e12, "fp16": 362e12},
    "V100 PCIE": {"float32": 14e12, "fp16": 112e12},
    "V100": {"float32": 15.7e12, "fp16": 125e12},
    "T4": {"float32": 8.1e12, "fp16": 65e12},
}


def peak_of(device: str, precision: str, stated: float | None = None) -> float | None:
    """FLOP/s that a device can reach in a precision; None where nobody knows.

    Args:
        device: what it is called.
        precision: of products, as of recipes, or `float64`.
        stated: by the site, which knows better.

    Example:
        >>> peak_of("NVIDIA A100-SXM4-80GB", "bf16"), peak_of("NVIDIA A100-SXM4-80GB", "float64")
        (312000000000000.0, None)
    """
    if stated is not None:
        return stated
    words = set(device.replace("-", " ").split())
    return next((peaks.get(precision) for name, peaks in _PEAKS.items() if words.issuperset(name.split())), None)


class Meters:
    """Measures the trainings of one worker.

    Args:
        bench: of this worker.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._name = device_name(bench.device)
        self._cuda = torch.device(bench.device).type == "cuda"
        self._flops: dict[str, float] = {}

    def begin(self) -> None:
        """A pack begins."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._bench.device)

    def of(self, event: Ended, recipe: Recipe, data: Data, *, started_at: int, devices: int) -> dict[str, Metric]:
        """The meters of a model that has ended.

        Args:
            event: its end.
            recipe: of the model.
            data: of the recipe.
            started_at: steps that it did not make itself.
            devices: that trained it together.
        """
        n = max(1, round(len(data.splits[recipe.split]) * recipe.train_fraction))
        samples = samples_seen(recipe, n, event.step) - samples_seen(recipe, n, started_at)
        rate = samples / event.seconds if event.seconds > 0 and samples else None
        precision = self._precision(recipe)
        peak = peak_of(self._name, precision, self._bench.peak_flops)
        mfu = None if rate is None or peak is None else rate * self._per_sample(recipe, data) / (peak * devices)
        memory = torch.cuda.max_memory_allocated(self._bench.device) / 2**20 if self._cuda else None
        return {
            "device": self._name,
            "precision": precision,
            "samples_per_second": rate,
            "tokens_per_second": rate * data.shape[0] if rate is not None and data.sequence else None,
            "mfu": mfu,
            "device_memory": memory,
        }

    def _precision(self, recipe: Recipe) -> str:
        """In which products are computed: tf32 is something that GPUs have."""
        if recipe.dtype != "float32" or (recipe.precision == "tf32" and not self._cuda):
            return recipe.dtype
        return recipe.precision

    def _per_sample(self, recipe: Recipe, data: Data) -> float:
        key = recipe.pack_key()
        if key not in self._flops:
            self._flops[key] = training_flops(recipe, data, self._bench.folder)
        return self._flops[key]
