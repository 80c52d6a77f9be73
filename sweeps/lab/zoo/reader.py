"""The reader of zoos: rows as a table, weights of any model and checkpoint, modules, a torch data set.

from sweeps.zoo import Zoo
zoo = Zoo("results/zoo_digits_hyper")
zoo.rows.groupby("optimizer.learning_rate").test_accuracy.mean()
net = zoo[0].module()                                    # a torch module with the final weights
x, y = zoo.part("train").dataset("test_accuracy")[0]     # weights as a vector, and what to predict from them
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from orchestrator.artifacts import Artifacts
from orchestrator.errors import UsageError
from orchestrator.inside import check_names
from orchestrator.readers import json_object
from orchestrator.text import one_line
from orchestrator.trust import is_own, reading
from sweeps.lab.zoo.dataset import WeightSet
from sweeps.lab.zoo.permute import Hidden, canonical_order, hidden_layers, permuted, prove_permutations
from sweeps.lab.zoo.rebuild import Rebuilder
from sweeps.lab.zoo.small_cnn import SmallCnnSource, read_small_cnn_zoo
from sweeps.lab.zoo.source import Shape, Stacked, WeightSource

if TYPE_CHECKING:
    from sweeps.lab.recipe import Recipe
    from sweeps.lab.zoo.split import Part

__all__ = ["Architecture", "Builder", "Member", "Zoo"]

_SHOWN = 3


class Builder(Protocol):
    """Builds the network of a row, with initial weights."""

    def __call__(self, row: Mapping[str, Any], shape: Shape) -> nn.Module: ...


class Zoo:
    """A zoo: results of a sweep, an exported folder, or a published one in the small-CNN-zoo layout.

    Attributes:
        files: where it lies.
        head: what is known of it: spec, versions, when it was made; empty for a published zoo.
        rows: one line per model with its params, metrics and status; models that failed have no weights.
        keys: of the models with weights, in the order of the rows.

    Args:
        where: a path, or a URL such as `s3://bucket/zoo`: weight files are then copied to the user's cache when needed.
        trust: code that the zoo names (networks, data, optimizers of its author) may run; of a zoo that this user has
            trained in this place it may anyway.

    Raises:
        UsageError: there is no zoo.
    """

    def __init__(self, where: str | Path, *, trust: bool = False) -> None:
        self.files = Artifacts(str(where))
        self.files.reach()
        self.head: Mapping[str, Any] = {}
        self._source: WeightSource
        self._build: Builder
        self._known: dict[object, Architecture] = {}
        there = self.files.files("")
        if "sweep.json" in there:
            self.head = json_object(self.files.read("sweep.json"), f"{where}/sweep.json")
            _check_head(self.head, str(where))
            if self.head.get("kind") != "zoo":
                raise UsageError(f"{where} holds a sweep of the kind {self.head.get('kind')!r}, not a zoo")
            self.rows = _sweep_rows(self.files, self.head)
            self._source, self._build = Stacked(self.files), self._of_recipe
        elif "metrics.csv.gz" in there and self.files.folder is not None:
            self.rows, source = read_small_cnn_zoo(self.files.folder)
            self._source, self._build = source, SmallCnnSource.build
        else:
            raise UsageError(
                f"{where} is no zoo: it has neither sweep.json (a sweep or an exported zoo) nor metrics.csv.gz "
                "(a zoo in the layout of the small CNN zoo)"
            )
        self._trusted = trust or (bool(self.head) and is_own(where, self.head))
        self._rebuilder = Rebuilder(self.head)
        self._index()

    def reading(self) -> AbstractContextManager[None]:
        """While this lasts, code that the zoo names is imported only if the zoo is trusted."""
        return reading(self.where, trusted=self._trusted)

    @property
    def where(self) -> str:
        """Its path or URL."""
        return self.files.where

    def _index(self) -> None:
        there = self.rows["weights_file"].notna() if len(self.rows) else []
        self.keys: list[str] = list(self.rows.loc[there, "key"])
        self._place = {key: i for i, key in enumerate(self.rows["key"])} if len(self.rows) else {}

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Member]:
        return (self[key] for key in self.keys)

    def __getitem__(self, which: int | str) -> Member:
        """The model at a position among those with weights, or with a key; the key's first digits are enough.

        Raises:
            UsageError: no model has this key.
        """
        key = which if isinstance(which, str) else self.keys[which]
        if key not in self._place:
            matches = [k for k in self._place if key and k.startswith(key)]
            if len(matches) != 1:
                found = f"{len(matches)} keys begin with it" if matches else "no key begins with it"
                some = ", ".join(self.keys[:_SHOWN])
                raise UsageError(f"{key!r} is not in the zoo {self.where}: {found}; keys are such as {some}")
            key = matches[0]
        return Member(self, key, self.rows.iloc[self._place[key]].to_dict())

    def select(self, mask: Sequence[bool] | pd.Series) -> Zoo:
        """The zoo of the rows where the mask is true, such as `zoo.select(zoo.rows.status == "ok")`."""
        part = object.__new__(Zoo)
        vars(part).update(vars(self))
        part.rows = self.rows[np.asarray(mask, bool)].reset_index(drop=True)
        part._index()
        return part

    def part(self, name: Part) -> Zoo:
        """The models of one part of the split: train, val or test. No seed and no lineage is in two parts."""
        return self.select(self.rows["split"] == name)

    def series(self) -> pd.DataFrame:
        """Evaluations during training: key, step, metric, value."""
        parts = list(_tables(self.files, "series"))
        if not parts:
            return pd.DataFrame({"key": [], "step": [], "metric": [], "value": []})
        return pd.concat(parts, ignore_index=True).drop_duplicates(["key", "step", "metric"])

    def recipe(self, key: str) -> Recipe:
        """The recipe of a model."""
        with self.reading():
            return self._rebuilder.recipe(self[key].row)

    def _of_recipe(self, row: Mapping[str, Any], shape: Shape) -> nn.Module:
        with self.reading():
            recipe = self._rebuilder.recipe(row)
            return recipe.net.build(*shape, recipe.seed, Path(self.head.get("folder", ".")))

    def shape(self, key: str) -> Shape:
        """Shape of one input of a model's network, and the number of its outputs."""
        return self._source.shape(self[key].row)

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the columns that hold what was swept; of a published zoo those that vary and are no metrics."""
        if self.head:
            return self._rebuilder.params
        aside = {"key", "modeldir", "step", "split", "status", "checkpoints", "weights_file"}
        names = [str(c) for c in self.rows if c not in aside and not str(c).endswith(("_loss", "_accuracy"))]
        return tuple(c for c in names if self.rows[c].nunique() > 1)

    def architecture(self, key: str, label: str = "last") -> Architecture:
        """What a model's network is made of; built once for each set of shapes."""
        member = self[key]
        return self._architecture(member, label, member.state(label))

    def _architecture(self, member: Member, label: str, state: Mapping[str, Tensor]) -> Architecture:
        mark = tuple((name, tuple(t.shape)) for name, t in state.items())
        if mark not in self._known:
            self._known[mark] = Architecture(member.module(label), self.shape(member.key)[0])
        return self._known[mark]

    def vectors(self, label: str = "last", keys: Sequence[str] | None = None) -> Tensor:
        """Weights [n, P] of all models, or of some, whose networks must have one shape.

        Raises:
            UsageError: they have not.
        """
        found = [self[key].vector(label) for key in (self.keys if keys is None else keys)]
        if len({len(v) for v in found}) > 1:
            sizes = sorted({len(v) for v in found})
            raise UsageError(f"these models have {sizes} weights; select those of one shape first: zoo.select(...)")
        return torch.stack(found) if found else torch.empty(0, 0)

    def dataset(
        self,
        target: str | None = None,
        *,
        labels: Sequence[str] = ("last",),
        transform: Callable[[Tensor], Tensor] | None = None,
        permute: int | None = None,
        canonical: bool = False,
    ) -> WeightSet:
        """A torch data set of weight vectors.

        Args:
            target: column of the rows to give beside them; None gives vectors alone.
            labels: checkpoints, each of which is an item of its own where a model has it.
            transform: applied to each vector.
            permute: seed of random permutations of hidden units, another one in each epoch and for each item.
            canonical: bring hidden units into the canonical order.
        """
        return WeightSet(self, target, labels, transform, permute, canonical=canonical)


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a zoo.

    Attributes:
        zoo: whose it is.
        key: of the model.
        row: its params and metrics.
    """

    zoo: Zoo
    key: str
    row: Mapping[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its checkpoints, in order of training."""
        return self.zoo._source.labels(self.row) if self._stored else ()

    @property
    def _stored(self) -> bool:
        return isinstance(self.row["weights_file"], str)

    def state(self, label: str = "last") -> dict[str, Tensor]:
        """The state dict of a checkpoint; only this model's slices are read.

        Raises:
            UsageError: it has no such checkpoint, or the file is missing or damaged.
        """
        if label not in self.labels:
            has = f"it has {', '.join(self.labels)}" if self.labels else f"it has none ({self.row['status']})"
            raise UsageError(f"model {self.key} has no checkpoint {label!r}; {has}")
        return self.zoo._source.state(self.row, label)

    def vector(self, label: str = "last") -> Tensor:
        """The parameters as one vector [P], in the order of the network's `named_parameters`; buffers are left out."""
        state = self.state(label)
        return self.zoo._architecture(self, label, state).vector(state)

    def module(self, label: str = "last") -> nn.Module:
        """The network with these weights, of their type, in evaluation mode."""
        module, state = self.zoo._build(self.row, self.zoo._source.shape(self.row)), self.state(label)
        for dtype in {t.dtype for t in state.values() if t.is_floating_point()}:  # one: weights are kept as trained
            module.to(dtype)
        module.load_state_dict(state)
        return module.eval()

    def permuted(self, seed: int, label: str = "last") -> dict[str, Tensor]:
        """The same function with its hidden units shuffled.

        Raises:
            SpecError: the network's layers form no chain: shortcuts, attention.
        """
        state = self.state(label)
        return permuted(state, self.zoo._architecture(self, label, state).hidden, seed)

    def canonical(self, label: str = "last") -> dict[str, Tensor]:
        """The same function with its hidden units in the canonical order.

        Raises:
            SpecError: as for `permuted`.
        """
        state = self.state(label)
        return canonical_order(state, self.zoo._architecture(self, label, state).hidden)


class Architecture:
    """What networks with weights of the same names and shapes share.

    Attributes:
        parameters: their names, in the order of a weight vector.

    Args:
        module: one of the networks.
        shape: of one input.
    """

    def __init__(self, module: nn.Module, shape: Sequence[int]) -> None:
        self._module, self._shape = module, shape
        self.parameters = tuple(name for name, _ in module.named_parameters())

    @cached_property
    def hidden(self) -> tuple[Hidden, ...]:
        """The hidden layers, whose units may be permuted: tried out on this network.

        Raises:
            SpecError: its layers form no chain, or its outputs change.
        """
        layers = hidden_layers(self._module)
        prove_permutations(self._module, layers, self._shape)
        return layers

    def vector(self, state: Mapping[str, Tensor]) -> Tensor:
        """The parameters [P] of a state dict."""
        return torch.cat([state[name].reshape(-1) for name in self.parameters])

    def state(self, vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict with the parameters of a vector [P] and the buffers of `like`."""
        pieces = torch.split(vector, [like[name].numel() for name in self.parameters])
        new = {name: piece.view_as(like[name]) for name, piece in zip(self.parameters, pieces, strict=True)}
        return {**like, **new}


def _check_head(head: Mapping[str, Any], where: str) -> None:
    """Refuse a `sweep.json` whose fields are not of their types; an export lacks some."""
    if "spec" not in head:
        raise UsageError(f"{where}/sweep.json is damaged: it has no spec; restore it")
    types = {"kind": str, "name": str, "spec": dict, "folder": str, "versions": dict}
    for name, kind in types.items():
        if not isinstance(head.get(name, kind()), kind):
            raise UsageError(f"{where}/sweep.json is damaged: {name} is no {kind.__name__}; restore it")


def _tables(files: Artifacts, folder: str) -> Iterator[pd.DataFrame]:
    for name in files.files(folder):
        if name.endswith(".parquet"):
            try:
                yield pd.read_parquet(io.BytesIO(files.read(f"{folder}/{name}")))
            except (ValueError, OSError) as e:  # what pyarrow raises are these, too
                reason = one_line(str(e))[:200]
                raise UsageError(f"{files.where}/{folder}/{name} is no table that can be read: {reason}") from e


def _sweep_rows(files: Artifacts, head: Mapping[str, Any]) -> pd.DataFrame:
    """All rows, sorted by what was swept; of rows that a merge has copied, one."""
    parts = [p for p in _tables(files, "rows") if len(p)]
    if not parts:
        return pd.DataFrame({"key": [], "status": [], "split": [], "weights_file": []})
    rows = pd.concat(parts, ignore_index=True).drop_duplicates("key")
    check_names(rows["key"], "key of a model", files.where)
    spec = head["spec"]
    drawn = (spec.get("samples") or {}).get("draw", {})
    swept = [p.removeprefix("recipe.") for p in (*spec.get("axes", {}), "sample", *drawn, "seed")]
    order = [c for c in ("recipe", *swept) if c in rows]
    return rows.sort_values([*order, "key"], kind="stable").reset_index(drop=True)
