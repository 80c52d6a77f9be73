"""The files of a zoo in either layout: rows, series, weights, and the networks that belong to them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.notes import is_own
from landsweep.orchestrator.run.sweep import as_frame, ledger_at, refuse_damaged, stored_rows
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.bounds import opened, refuse_bomb
from landsweep.orchestrator.storage.inside import check_names, refuse_odd
from landsweep.orchestrator.storage.readers import json_object
from landsweep.orchestrator.text import one_line
from landsweep.orchestrator.trust import reading, refuse_files
from landsweep.sweeps.lab.checkpoints.source import Shape, Stacked, WeightSource
from landsweep.sweeps.lab.checkpoints.state_dict import load_into
from landsweep.sweeps.lab.outline import outline
from landsweep.sweeps.lab.trained_models.architecture import Architecture
from landsweep.sweeps.lab.trained_models.rebuild import Rebuilder
from landsweep.sweeps.lab.trained_models.small_cnn_zoo import SmallCnnSource, read_small_cnn_zoo
from landsweep.sweeps.lab.training_units.kind import TrainedKind

if TYPE_CHECKING:
    from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["ModelFiles"]

_NO_SETTINGS = {"key", "modeldir", "step", "split", "status", "checkpoints", "weights_file"}  # of a published zoo
_ROWS, _SERIES = ("key", "status", "weights_file"), ("key", "step", "metric", "value")  # needed in each table
_PARTS = ("rows", "series")
_TRIED = 4  # random inputs, for which networks are followed
_OF_SWEEPS = "definitions"  # of heads of sweeps, whose tables are a ledger; an exported zoo has plain tables
_OF_NETS = ("recipe", "branch", "net")  # columns of swept settings that may change the network, beside `net.*`


class ModelFiles:
    """An open zoo: what its models have in common. `Zoo` and `Member` share one.

    Attributes:
        files: the folder or bucket where it lies.
        head: the content of `sweep.json`: spec, versions, when it was made; empty for a published zoo.
        rows: one line per model, all of them.

    Args:
        where: as for `Zoo`.
        trust: as for `Zoo`.
        whole: refuse a sweep with damaged parts; else their rows are left out.

    Raises:
        UsageError: there is no zoo, or its table is damaged.
    """

    def __init__(self, where: str | Path, *, trust: bool = False, whole: bool = True) -> None:
        self.files = Artifacts(str(where))
        self.files.reach()
        self.head: Mapping[str, Any] = {}
        self._source: WeightSource
        names = self.files.files("")
        if "sweep.json" in names:
            self.head = json_object(self.files.read("sweep.json"), f"{where}/sweep.json")
            _check_head(self.head, str(where))
        self._rebuilder = Rebuilder(self.head)
        self._ledger = ledger_at(where) if _OF_SWEEPS in self.head else None
        if self.head:
            if self._ledger is None:
                parts = [p for p in _tables(self.files, "rows", _ROWS) if len(p)]
                table = pd.concat(parts, ignore_index=True) if parts else None
            else:
                for path in (f"{folder}/{name}" for folder in _PARTS for name in self.files.files(folder)):
                    refuse_odd(self.files.folder, path)  # a ledger does not see pipes
                table = as_frame(stored_rows(self._ledger, trust=trust))
                if whole:
                    refuse_damaged(self._ledger)
            self.rows = _sorted_rows(table, self.head, self._rebuilder, str(where))
            self._source = Stacked(self.files)
        elif "metrics.csv.gz" in names and self.files.folder is not None:
            self.rows, self._source = read_small_cnn_zoo(self.files.folder)
        else:
            raise UsageError(
                f"{where} is no zoo: it has neither sweep.json (a sweep or an exported zoo) nor metrics.csv.gz "
                "(a zoo in the layout of the small CNN zoo)"
            )
        self._trusted = trust or (bool(self.head) and is_own(where, self.head))
        self._architectures: dict[object, Architecture] = {}

    @property
    def where(self) -> str:
        """Its path or URL."""
        return self.files.where

    def reading(self) -> AbstractContextManager[None]:
        """While this lasts, code that the zoo names is imported only if the zoo is trusted."""
        return reading(self.where, trusted=self._trusted)

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the columns that hold what was swept; of a published zoo those that vary and are no metrics."""
        if self.head:
            return self._rebuilder.params
        names = [str(c) for c in self.rows if c not in _NO_SETTINGS and not str(c).endswith(("_loss", "_accuracy"))]
        return tuple(c for c in names if self.rows[c].nunique() > 1)

    def series(self) -> pd.DataFrame:
        """Evaluations during training: key, step, metric, value."""
        if self._ledger is not None:
            parts = [self._ledger.series().to_pandas()]
        else:
            parts = list(_tables(self.files, "series", _SERIES))
        if not parts:
            return pd.DataFrame({name: [] for name in _SERIES})
        return pd.concat(parts, ignore_index=True).drop_duplicates(["key", "step", "metric"])

    def labels(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Labels of a model's checkpoints, in order of training; none where it has no weights."""
        return self._source.labels(row) if isinstance(row["weights_file"], str) else ()

    def state(self, row: Mapping[str, Any], label: str) -> dict[str, Tensor]:
        """The state dict of one of a model's checkpoints."""
        return self._source.state(row, label)

    def shape(self, row: Mapping[str, Any]) -> Shape:
        """Shape of one input of a model's network, and the number of its outputs."""
        return self._source.shape(row)

    def recipe(self, row: Mapping[str, Any]) -> Recipe:
        """The recipe of a model."""
        with self.reading():
            return self._rebuilder.recipe(row)

    def refuse_files(self, recipe: Recipe) -> None:
        """Refuse to read files that a model's recipe names outside of the zoo's folder, unless the zoo is trusted.

        Raises:
            Untrusted: names the field.
        """
        if not self._trusted:
            refuse_files(recipe.model_dump(mode="json"), Path(self.head.get("folder", ".")), self.where)

    def module(self, row: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
        """A model's network with these weights, of their type, in evaluation mode."""
        module = self._network(row)
        for dtype in {t.dtype for t in state.values() if t.is_floating_point()}:  # one: weights are kept as trained
            module.to(dtype)
        load_into(module, state, f"{self.where}: model {row['key']}")
        return module.eval()

    def _network(self, row: Mapping[str, Any]) -> nn.Module:
        """A model's network with initial weights."""
        shape = self.shape(row)
        if not self.head:
            return SmallCnnSource.build(row, shape)
        with self.reading():
            recipe = self._rebuilder.recipe(row)
            return recipe.net.build(*shape, recipe.seed, Path(self.head.get("folder", ".")))

    def _inputs(self, row: Mapping[str, Any]) -> Tensor:
        """A few random inputs of a model's network: numbers, or tokens where its data are such."""
        shape, outputs = self.shape(row)
        if not self.head:
            return _random_inputs(shape, None)
        recipe = self.recipe(row)
        data = outline(recipe.data)
        tokens = recipe.net.takes == ("tokens",) if data is None else data.kind == "tokens"
        return _random_inputs(shape, outputs if tokens else None)

    def architecture(self, row: Mapping[str, Any], state: Mapping[str, Tensor]) -> Architecture:
        """What a model's network is made of; built once for all models of one net and one set of shapes.

        The shapes alone would not do: a shortcut has no weights, but with one hidden units are tied to others.
        """
        shapes = tuple((name, tuple(t.shape)) for name, t in state.items())
        net = tuple(str(row[name]) for name in row if name in _OF_NETS or name.startswith("net."))
        if (net, shapes) not in self._architectures:
            self._architectures[net, shapes] = Architecture(self.module(row, state), self._inputs(row))
        return self._architectures[net, shapes]


def _random_inputs(shape: Sequence[int], vocabulary: int | None) -> Tensor:
    source = torch.Generator().manual_seed(0)
    size = (_TRIED, *shape)
    if vocabulary is not None:
        return torch.randint(vocabulary, size, generator=source)
    return torch.rand(size, generator=source)


def _check_head(head: Mapping[str, Any], where: str) -> None:
    """Refuse a `sweep.json` with fields of wrong types, or of a sweep that trained no models; an export lacks some.

    Raises:
        UsageError: says what is wrong, and of what kind the sweep is.
    """
    if "spec" not in head:
        raise UsageError(f"{where}/sweep.json is damaged: it has no spec; restore it")
    types = {"kind": str, "name": str, "spec": dict, "folder": str, "versions": dict}
    for name, kind in types.items():
        if not isinstance(head.get(name, kind()), kind):
            raise UsageError(f"{where}/sweep.json is damaged: {name} is no {kind.__name__}; restore it")
    kind_name = str(head.get("kind"))
    if not isinstance(kind_named(kind_name), TrainedKind):
        raise UsageError(f"{where} holds a sweep of the kind {kind_name!r}, whose units are no trained models")
    if head["spec"].get("recipe") is None:
        raise UsageError(f"{where} holds a sweep of the kind {kind_name!r} without a recipe, so it trained no models")


def _tables(files: Artifacts, folder: str, needed: Sequence[str]) -> Iterator[pd.DataFrame]:
    for name in files.files(folder):
        if name.endswith(".parquet"):
            try:
                data = files.read(f"{folder}/{name}")
                refuse_bomb(opened(data), data, f"{files.where}/{folder}/{name}")
                table = pd.read_parquet(io.BytesIO(data))
            except (ValueError, OSError) as e:  # what pyarrow raises are these, too
                reason = one_line(str(e))[:200]
                raise UsageError(f"{files.where}/{folder}/{name} is no table that can be read: {reason}") from e
            if missing := [column for column in needed if column not in table]:
                raise UsageError(
                    f"{files.where}/{folder}/{name} is no table of {folder}: it lacks {', '.join(missing)}"
                )
            yield table


def _sorted_rows(table: pd.DataFrame | None, head: Mapping[str, Any], rebuilder: Rebuilder, where: str) -> pd.DataFrame:
    """All rows, sorted by what was swept; of rows that were copied, one."""
    if table is None or not len(table):
        return pd.DataFrame({"key": [], "status": [], "split": [], "weights_file": []})
    if missing := [column for column in _ROWS if column not in table]:
        raise UsageError(f"{where}: its rows are no table of models: they lack {', '.join(missing)}")
    rows = table.drop_duplicates("key")
    check_names(rows["key"], "key of a model", where)
    spec = head["spec"]
    drawn = (spec.get("samples") or {}).get("draw", {})
    swept = [p.removeprefix("recipe.") for p in (*spec.get("axes", {}), "sample", *drawn, "seed")]
    if "axes" not in spec:  # other kinds than zoos: what they sweep is not written in their specs by name
        swept = list(rebuilder.params)
    order = [c for c in dict.fromkeys(("recipe", *swept)) if c in rows]
    return rows.sort_values([*order, "key"], kind="stable").reset_index(drop=True)
