"""The reader of zoos: rows as a table, weights of any model and checkpoint, modules, a torch data set.

from sweeps.zoo import Zoo
zoo = Zoo("results/zoo_digits_hyper")
zoo.rows.groupby("optimizer.learning_rate").test_accuracy.mean()
net = zoo[0].module()                                    # a torch module with the final weights
x, y = zoo.part("train").dataset("test_accuracy")[0]     # weights as a vector, and what to predict from them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from orchestrator.errors import UsageError
from sweeps.lab.zoo.permute import Hidden, canonical_order, hidden_layers, permuted
from sweeps.lab.zoo.rebuild import Rebuilder
from sweeps.lab.zoo.small_cnn import SmallCnnSource, read_small_cnn_zoo
from sweeps.lab.zoo.source import Shape, Stacked, WeightSource

if TYPE_CHECKING:
    from sweeps.lab.recipe import Recipe
    from sweeps.lab.zoo.split import Part

__all__ = ["Member", "WeightSet", "Zoo"]

_SHOWN = 3


class Builder(Protocol):
    """Builds the network of a row, with initial weights."""

    def __call__(self, row: Mapping[str, Any], shape: Shape) -> nn.Module: ...


class Zoo:
    """A zoo on this machine: results of a sweep, an exported folder, or a published one in the small-CNN-zoo layout.

    Attributes:
        folder: where it lies.
        head: what is known of it: spec, versions, when it was made; empty for a published zoo.
        rows: one line per model with its params, metrics and status; models that failed have no weights.
        keys: of the models with weights, in the order of the rows.

    Args:
        folder: path.

    Raises:
        UsageError: there is no zoo.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.head: Mapping[str, Any] = {}
        self._source: WeightSource
        self._build: Builder
        self._layers: dict[Any, tuple[Hidden, ...]] = {}
        if (self.folder / "sweep.json").is_file():
            self.head = json.loads((self.folder / "sweep.json").read_text(encoding="utf-8"))
            if self.head.get("kind") != "zoo":
                raise UsageError(f"{self.folder} holds a sweep of the kind {self.head.get('kind')!r}, not a zoo")
            self.rows = _sweep_rows(self.folder, self.head)
            self._source, self._build = Stacked(self.folder), self._of_recipe
        elif (self.folder / "metrics.csv.gz").is_file():
            self.rows, source = read_small_cnn_zoo(self.folder)
            self._source, self._build = source, SmallCnnSource.build
        else:
            raise UsageError(
                f"{self.folder} is no zoo: it has neither sweep.json (a sweep or an exported zoo) nor metrics.csv.gz "
                "(a zoo in the layout of the small CNN zoo)"
            )
        self._rebuilder = Rebuilder(self.head)
        self._index()

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
        if isinstance(which, int | np.integer):
            which = self.keys[which]
        if which not in self._place:
            matches = [k for k in self._place if which and k.startswith(which)]
            if len(matches) != 1:
                found = f"{len(matches)} keys begin with it" if matches else "no key begins with it"
                some = ", ".join(self.keys[:_SHOWN])
                raise UsageError(f"{which!r} is not in the zoo {self.folder}: {found}; keys are such as {some}")
            which = matches[0]
        return Member(self, which, self.rows.iloc[self._place[which]].to_dict())

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
        files = sorted((self.folder / "series").glob("*.parquet")) if (self.folder / "series").is_dir() else []
        parts = [pd.read_parquet(f) for f in files]
        if not parts:
            return pd.DataFrame({"key": [], "step": [], "metric": [], "value": []})
        return pd.concat(parts, ignore_index=True).drop_duplicates(["key", "step", "metric"])

    def recipe(self, key: str) -> Recipe:
        """The recipe of a model."""
        return self._rebuilder.recipe(self[key].row)

    def _of_recipe(self, row: Mapping[str, Any], shape: Shape) -> nn.Module:
        recipe = self._rebuilder.recipe(row)
        return recipe.net.build(*shape, recipe.seed, Path(self.head.get("folder", ".")))

    def hidden_layers(self, key: str, label: str = "last") -> tuple[Hidden, ...]:
        """The hidden layers of a model, whose units may be permuted.

        Raises:
            SpecError: its layers form no chain: shortcuts, attention.
        """
        member = self[key]
        state = member.state(label)
        mark = tuple((name, tuple(t.shape)) for name, t in state.items())
        if mark not in self._layers:
            self._layers[mark] = hidden_layers(member.module(label))
        return self._layers[mark]

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
        return WeightSet(self, target, tuple(labels), transform, permute, canonical)


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
        """All floating-point entries of the state dict as one vector [P], in its order."""
        return torch.cat([v.reshape(-1) for v in self.state(label).values() if v.is_floating_point()])

    def module(self, label: str = "last") -> nn.Module:
        """The network with these weights, in evaluation mode."""
        module = self.zoo._build(self.row, self.zoo._source.shape(self.row))
        module.load_state_dict(self.state(label))
        return module.eval()

    def permuted(self, seed: int, label: str = "last") -> dict[str, Tensor]:
        """The same function with its hidden units shuffled."""
        return permuted(self.state(label), self.zoo.hidden_layers(self.key, label), seed)

    def canonical(self, label: str = "last") -> dict[str, Tensor]:
        """The same function with its hidden units in the canonical order."""
        return canonical_order(self.state(label), self.zoo.hidden_layers(self.key, label))


class WeightSet(torch.utils.data.Dataset[Any]):
    """Weight vectors of a zoo, with a target each; see `Zoo.dataset`."""

    def __init__(
        self,
        zoo: Zoo,
        target: str | None,
        labels: tuple[str, ...],
        transform: Callable[[Tensor], Tensor] | None,
        permute: int | None,
        canonical: bool,
    ) -> None:
        if target is not None and target not in zoo.rows:
            raise UsageError(f"there is no column {target!r}; the rows have {', '.join(map(str, zoo.rows.columns))}")
        self._zoo, self._target, self._transform = zoo, target, transform
        self._permute, self._canonical = permute, canonical
        self._epoch = 0
        self._items = [(key, label) for key in zoo.keys for label in labels if label in zoo[key].labels]

    def set_epoch(self, epoch: int) -> None:
        """Draw other permutations from now on."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - a vector, or a vector and its target
        key, label = self._items[index]
        member = self._zoo[key]
        if self._permute is not None:
            seed = int(np.random.SeedSequence([self._permute, self._epoch, index]).generate_state(1, np.uint64)[0])
            state = member.permuted(seed, label)
        else:
            state = member.canonical(label) if self._canonical else member.state(label)
        vector = torch.cat([v.reshape(-1) for v in state.values() if v.is_floating_point()])
        vector = vector if self._transform is None else self._transform(vector)
        return vector if self._target is None else (vector, member.row[self._target])


def _sweep_rows(folder: Path, head: Mapping[str, Any]) -> pd.DataFrame:
    """All rows, sorted by what was swept; of rows that a merge has copied, one."""
    parts = [pd.read_parquet(f) for f in sorted((folder / "rows").glob("*.parquet"))]
    parts = [p for p in parts if len(p)]
    if not parts:
        return pd.DataFrame({"key": [], "status": [], "split": [], "weights_file": []})
    rows = pd.concat(parts, ignore_index=True).drop_duplicates("key")
    spec = head["spec"]
    drawn = (spec.get("samples") or {}).get("draw", {})
    swept = [p.removeprefix("recipe.") for p in (*spec.get("axes", {}), "sample", *drawn, "seed")]
    order = [c for c in ("recipe", *swept) if c in rows]
    return rows.sort_values([*order, "key"], kind="stable").reset_index(drop=True)
