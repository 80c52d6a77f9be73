"""Where a zoo's weights lie: stacked files of this project, one file per model, or the arrays of a published zoo."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.inside import check_names

__all__ = ["Shape", "Stacked", "WeightSource"]

_OPEN = 64  # files that are kept open
Shape = tuple[tuple[int, ...], int]  # of one input, and how many outputs


class WeightSource(Protocol):
    """Gives the weights of models by their rows."""

    def labels(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Labels of the checkpoints of a model, in order of training."""
        ...

    def state(self, row: Mapping[str, Any], label: str) -> dict[str, Tensor]:
        """The state dict of one model at one checkpoint."""
        ...

    def shape(self, row: Mapping[str, Any]) -> Shape:
        """Shape of one input and number of outputs of its network."""
        ...


class Stacked:
    """Files with many models each, as `stacked_file` beside this describes them; reads only the slices asked for.

    Args:
        files: of the zoo.
    """

    def __init__(self, files: Artifacts) -> None:
        self._files = files
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._names: dict[tuple[str, str], list[str]] = {}

    def labels(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        labels = tuple(str(row["checkpoints"]).split())
        check_names(labels, "label of a checkpoint", self._files.where)
        return labels

    def state(self, row: Mapping[str, Any], label: str) -> dict[str, Tensor]:
        if lacking := [name for name in ("weights_file", "weights_slot", "weights_pack") if name not in row]:
            raise UsageError(f"the rows of {self._files.where} have no column {lacking[0]}: are they those of a zoo?")
        name = str(row["weights_file"]).replace("{label}", label)
        try:
            file = self._file(name)
            if _is(row["weights_slot"]):
                slot, prefix = int(row["weights_slot"]), f"{int(row['weights_pack'])}/{label}/"
                return {n.removeprefix(prefix): file.get_slice(n)[slot] for n in self._under(name, prefix)}
            return {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, IndexError) as e:
            raise _damaged(f"{self._files.where}/{name}", e) from e

    def shape(self, row: Mapping[str, Any]) -> Shape:
        label = self.labels(row)[-1]
        name = str(row["weights_file"]).replace("{label}", label)
        try:
            about = json.loads(self._file(name).metadata()["packs"])[
                int(row["weights_pack"] if _is(row["weights_pack"]) else 0)
            ]
            return tuple(int(n) for n in about["shape"]), int(about["outputs"])
        except (SafetensorError, KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as e:
            raise _damaged(f"{self._files.where}/{name}", e) from e

    def _under(self, name: str, prefix: str) -> Sequence[str]:
        if (name, prefix) not in self._names:
            self._names[name, prefix] = [n for n in self._file(name).keys() if n.startswith(prefix)]  # noqa: SIM118
        names = self._names[name, prefix]
        if not names:
            raise IndexError(f"it holds no tensors {prefix}*")
        return names

    def _file(self, name: str) -> Any:  # noqa: ANN401 - safetensors has no types
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        try:
            path = self._files.path(name)
        except FileNotFoundError:
            raise UsageError(
                f"{self._files.where}/{name}: the rows name this weight file, but it is not there; copy it back, or "
                "train its models again"
            ) from None
        self._open[name] = safe_open(path, framework="pt")
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return self._open[name]


def _is(value: object) -> bool:
    return value is not None and value == value


def _damaged(path: str, error: Exception) -> UsageError:
    return UsageError(
        f"{path}: this weight file is damaged ({error}); copy it back from where the zoo came from, or give its models "
        "new weights: remove the file and see `landsweep verify`"
    )
