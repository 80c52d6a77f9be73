"""Published zoos in the layout of the small CNN zoo (Unterthiner et al. 2020, arXiv 2002.11448; CC-BY-4.0).

A folder with `weights.npy` [rows, P], `metrics.csv.gz` (a line per run and checkpoint: `modeldir`, `step`,
`test_accuracy`, `config.*`, ...) and `layout.csv` (`varname`, `start_idx`, `end_idx`, `shape`: where each variable lies
in a row). Kernels are stored as TensorFlow has them: [height, width, in, out] and [in, out].
"""

from __future__ import annotations

import io
import math
import re
import tokenize
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.bounds import gunzip, refuse_beyond, room
from landsweep.orchestrator.storage.inside import refuse_odd
from landsweep.orchestrator.text import one_line
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.checkpoints.source import Shape
from landsweep.sweeps.lab.models import SmallCnn
from landsweep.sweeps.lab.training_units.split import split_of

__all__ = ["SmallCnnSource", "read_small_cnn_zoo"]

_OURS = {"key", "split", "weights_file", "checkpoints"}  # columns that rows get here
_COLUMNS = {"varname", "start_idx", "end_idx", "shape"}
_OF_TEXT = 4  # times its size a table takes that is read from text
_SIDES = {"mnist": 28, "fashion_mnist": 28}  # of images; the other data sets have 32


def read_small_cnn_zoo(folder: Path) -> tuple[pd.DataFrame, SmallCnnSource]:
    """Rows, one per run, and the source of their weights; nothing but the table is read.

    The metrics of a row are those of the run's last checkpoint. All runs of the published zoos have the same seed (42),
    so no split can part seeds; the split is by run: all checkpoints of one are in the same part.

    Raises:
        UsageError: a file is missing, or they do not belong together.
    """
    missing = [n for n in ("weights.npy", "layout.csv") if not (folder / n).is_file()]
    if missing:
        raise UsageError(
            f"{folder} lacks {' and '.join(missing)}; this layout has weights.npy, metrics.csv.gz, layout.csv"
        )
    table = _metrics(folder / "metrics.csv.gz")
    if lacking := {"modeldir", "step"} - set(table):
        raise UsageError(f"{folder}/metrics.csv.gz lacks the columns {sorted(lacking)}; it has {', '.join(table)}")
    source = SmallCnnSource(folder, table)
    plain = [c.removeprefix("config.") for c in table]
    if clashing := sorted({c for c in plain if plain.count(c) > 1} | _OURS.intersection(plain)):
        raise UsageError(
            f"{folder}/metrics.csv.gz: the column {clashing[0]!r} is there twice, or is one that rows get here"
        )
    runs = table.sort_values("step", kind="stable").groupby("modeldir", sort=False)
    rows = runs.tail(1).sort_index().drop(columns=[c for c in table if c.startswith("Unnamed")])
    rows = rows.rename(columns={c: c.removeprefix("config.") for c in rows}).reset_index(drop=True)
    keys = [_key(m) for m in rows["modeldir"]]
    new = {
        "status": "ok",
        "split": [split_of(int(key, 16)) for key in keys],
        "weights_file": "weights.npy",
        "checkpoints": [" ".join(source.steps[key]) for key in keys],
    }
    rows = rows.assign(**{k: v for k, v in new.items() if k not in ("status",) or k not in rows})
    rows.insert(0, "key", keys)
    return rows, source


def _metrics(file: Path) -> pd.DataFrame:
    refuse_odd(file.parent, file.name)
    try:
        table = pd.read_csv(io.BytesIO(gunzip(file.read_bytes(), str(file), room() // _OF_TEXT)))
        if "step" in table:
            table["step"] = _whole(table["step"])
    except (EOFError, OSError, zlib.error, ValueError) as e:  # pandas' own errors are the last
        raise _damaged(file, e) from e
    return table


def _layout(file: Path) -> pd.DataFrame:
    """Name, place and sizes of each variable, in the order of the weights.

    Raises:
        UsageError: the table is damaged, or places and shapes do not fit each other.
    """
    refuse_beyond(str(file), _OF_TEXT * file.stat().st_size)
    try:
        table = pd.read_csv(file)
        if lacking := _COLUMNS - set(table):
            raise ValueError(f"it lacks the columns {sorted(lacking)}; it has {', '.join(table)}")
        table = table.assign(start_idx=_whole(table["start_idx"]), end_idx=_whole(table["end_idx"]))
        table["sizes"] = [[int(n) for n in re.findall(r"\d+", str(shape))] for shape in table["shape"]]  # never eval
        for _, one in table.iterrows():
            if math.prod(one["sizes"]) != one["end_idx"] - one["start_idx"]:
                raise ValueError(f"{one['varname']} lies from {one['start_idx']} to {one['end_idx']}: {one['shape']}")
        table["name"] = _torch_names([str(v) for v in table["varname"]])
        for name, sizes in zip(table["name"], table["sizes"], strict=True):
            if len(sizes) != (1 if name.endswith("bias") else 2 if name.startswith("out") else 4):
                raise ValueError(f"{name} has the shape {sizes}")
        if lacking := {"conv1.weight", "out.bias"} - set(table["name"]):
            raise ValueError(f"there is no {sorted(lacking)[0]}")
    except ValueError as e:
        raise _damaged(file, e) from e
    return table.sort_values("start_idx")


def _whole(column: pd.Series) -> pd.Series:
    """Whole numbers from 0; a ValueError where a column holds something else."""
    numbers = pd.to_numeric(column)
    if not ((numbers >= 0) & (numbers < 2**53) & (numbers % 1 == 0)).all():
        raise ValueError(f"{column.name} is not everywhere a whole number from 0")
    return numbers.astype(np.int64)


def _damaged(file: Path, error: Exception) -> UsageError:
    return UsageError(f"{file} is damaged ({one_line(str(error))[:200]}); fetch it again")


def _key(modeldir: object) -> str:
    return digest(str(modeldir))


class SmallCnnSource:
    """Weights of `weights.npy`, mapped into memory.

    Args:
        folder: with the three files.
        table: of metrics, in the order of the weights.

    Attributes:
        steps: key to label to row of the array, by step; the last one is also `last`.
    """

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        try:
            self._weights: NDArray[Any] = np.lib.format.open_memmap(folder / "weights.npy", mode="r")
            if self._weights.dtype.kind != "f":
                raise ValueError(f"it holds {self._weights.dtype}")
        except (ValueError, OSError, EOFError, SyntaxError, tokenize.TokenError) as e:  # the head is written in Python
            raise _damaged(folder / "weights.npy", e) from e
        self._layout = _layout(folder / "layout.csv")
        width = int(self._layout["end_idx"].max())
        if self._weights.shape != (len(table), width):
            raise UsageError(
                f"{folder}: weights.npy has the shape {self._weights.shape}, but metrics.csv.gz and layout.csv say "
                f"({len(table)}, {width}); they are not of the same zoo, or cut off"
            )
        self.steps: dict[str, dict[str, int]] = {}
        for place, modeldir, step in sorted(
            zip(range(len(table)), table["modeldir"], table["step"], strict=True), key=lambda t: t[2]
        ):
            self.steps.setdefault(_key(modeldir), {})[f"step-{int(step):06d}"] = place
        for labels in self.steps.values():
            labels["last"] = labels[next(reversed(labels))]

    def labels(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(self.steps[row["key"]])

    def state(self, row: Mapping[str, Any], label: str) -> dict[str, Tensor]:
        flat = np.asarray(self._weights[self.steps[row["key"]][label]])
        tensors = {}
        places = (self._layout[column] for column in ("name", "start_idx", "end_idx", "sizes"))
        for name, start, end, sizes in zip(*places, strict=True):
            array = flat[int(start) : int(end)].reshape(sizes)
            if array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            tensors[name] = torch.from_numpy(np.ascontiguousarray(array.T if array.ndim == 2 else array).copy())
        order = sorted(tensors, key=lambda n: (n.split(".")[0] == "out", n.split(".")[0], n.endswith("bias")))
        return {name: tensors[name] for name in order}

    def shape(self, row: Mapping[str, Any]) -> Shape:
        state = self.state(row, "last")
        side = _SIDES.get(str(row.get("dataset")), 32)
        return (state["conv1.weight"].shape[1], side, side), len(state["out.bias"])

    @staticmethod
    def build(row: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The network of a row: only its activation varies, everything else follows from the weights."""
        net = parse(SmallCnn, {"net": "small_cnn", "activation": row.get("activation", "relu")}, f"model {row['key']}")
        return net.build(*shape, 0)


def _torch_names(variables: list[str]) -> list[str]:
    """`sequential/conv2d_1/kernel:0` as `conv2.weight`; the n-th convolution is `conv<n>`, the dense layer `out`."""
    layers = {v: v.split("/")[-2] if "/" in v else v for v in variables}
    convolutions = sorted(
        {n for n in layers.values() if "conv" in n}, key=lambda n: int((re.findall(r"_(\d+)$", n) or [0])[0])
    )
    names = []
    for variable in variables:
        layer = layers[variable]
        place = f"conv{convolutions.index(layer) + 1}" if layer in convolutions else "out"
        names.append(f"{place}.{'bias' if 'bias' in variable else 'weight'}")
    if len(set(names)) != len(names):
        raise UsageError(f"layout.csv: the variables {variables} are not those of convolutions and one dense layer")
    return names
