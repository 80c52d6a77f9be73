"""The reader of zoos: rows as a table, weights of any model and checkpoint, modules, a torch data set.

from landsweep.sweeps.zoo.kind import Zoo
zoo = Zoo("results/zoo_digits_hyper")
zoo.rows.groupby("optimizer.learning_rate").test_accuracy.mean()
net = zoo[0].module()                                    # a torch module with the final weights
x, y = zoo.part("train").dataset("test_accuracy")[0]     # weights as a vector, and what to predict from them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.sweeps.lab.checkpoints.source import Shape
from landsweep.sweeps.lab.trained_models.architecture import Architecture
from landsweep.sweeps.lab.trained_models.dataset import WeightSet
from landsweep.sweeps.lab.trained_models.member import Member
from landsweep.sweeps.lab.trained_models.model_files import ModelFiles
from landsweep.sweeps.lab.training_units.split import Part

if TYPE_CHECKING:
    from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["Architecture", "Member", "Zoo"]

_SHOWN = 3  # keys in a message


class Zoo:
    """Trained models: of a zoo, a search, a transfer or a scaling sweep, of an exported folder or a small CNN zoo.

    A zoo keeps the weights of all its models; other sweeps keep those that `recipe.checkpoints` asked for.

    Attributes:
        models: the open files, which all selections of a zoo share.
        rows: one line per model with its params, metrics and status; models that failed have no weights.
        keys: of the models with weights, in the order of the rows.

    Args:
        where: a path, or a URL such as `s3://bucket/zoo`: weight files are then copied to the user's cache when needed;
            or the files of a zoo that is open already.
        rows: the models; None: all of them.
        trust: code that the zoo names (networks, data, optimizers of its author) may run; of a zoo that this user has
            trained in this place it may anyway.

    Raises:
        UsageError: there is no zoo, or a sweep that trained no models.
    """

    def __init__(
        self, where: str | Path | ModelFiles, rows: pd.DataFrame | None = None, *, trust: bool = False
    ) -> None:
        self.models = where if isinstance(where, ModelFiles) else ModelFiles(where, trust=trust)
        self.rows = self.models.rows if rows is None else rows
        stored = self.rows["weights_file"].notna() if len(self.rows) else []
        self.keys: list[str] = list(self.rows.loc[stored, "key"])
        self._places = {key: i for i, key in enumerate(self.rows["key"])}

    @property
    def where(self) -> str:
        """Its path or URL."""
        return self.models.where

    @property
    def files(self) -> Artifacts:
        """The folder or bucket where it lies."""
        return self.models.files

    @property
    def head(self) -> Mapping[str, Any]:
        """What is known of the whole zoo: spec, versions, when it was made; empty for a published zoo."""
        return self.models.head

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the columns that hold what was swept; of a published zoo those that vary and are no metrics."""
        return self.models.swept

    def __repr__(self) -> str:
        return f"Zoo({self.where!r}): {len(self.rows):,} models, {len(self):,} of them with weights"

    def reading(self) -> AbstractContextManager[None]:
        """While this lasts, code that the zoo names is imported only if the zoo is trusted."""
        return self.models.reading()

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
        if key not in self._places:
            matches = [k for k in self._places if key and k.startswith(key)]
            if len(matches) != 1:
                reason = f"{len(matches)} keys begin with it" if matches else "no key begins with it"
                some = ", ".join(self.keys[:_SHOWN])
                raise UsageError(f"{key!r} is not in the zoo {self.where}: {reason}; keys are such as {some}")
            key = matches[0]
        return Member(self.models, self.rows.iloc[self._places[key]].to_dict())

    def select(self, mask: Sequence[bool] | pd.Series) -> Zoo:
        """The zoo of the rows where the mask is true, such as `zoo.select(zoo.rows.status == "ok")`."""
        return Zoo(self.models, self.rows[np.asarray(mask, bool)].reset_index(drop=True))

    def part(self, name: Part) -> Zoo:
        """The models of one part of the split: train, val or test. No seed and no lineage is in two parts.

        Raises:
            UsageError: there is no such part.
        """
        if name not in get_args(Part):
            raise UsageError(f"there is no part {name!r}; the parts are {', '.join(get_args(Part))}")
        return self.select(self.rows["split"] == name)

    def with_measures(self, where: str | Path, label: str = "last") -> Zoo:
        """The zoo with the values of a measuring sweep in its rows, as columns `MEASURE.COLUMN`.

        Args:
            where: results of the measuring sweep, path or URL.
            label: of the checkpoints whose values are taken.

        Raises:
            UsageError: that sweep has measured no model of this zoo at such a checkpoint.
        """
        # Here, since it brings the engine, which readers do without.
        from landsweep.sweeps.lab.trained_models.joined import with_measures

        return Zoo(self.models, with_measures(self.rows, where, label))

    def series(self) -> pd.DataFrame:
        """Evaluations during training of these models: key, step, metric, value."""
        series = self.models.series()
        return series[series["key"].isin(self.rows["key"])].reset_index(drop=True)

    def recipe(self, key: str) -> Recipe:
        """The recipe of a model, as `Member.recipe` gives it."""
        return self[key].recipe()

    def shape(self, key: str) -> Shape:
        """Shape of one input of a model's network, and the number of its outputs."""
        return self[key].shape

    def architecture(self, key: str, label: str = "last") -> Architecture:
        """What a model's network is made of."""
        return self[key].architecture(label)

    def vectors(self, label: str = "last", keys: Sequence[str] | None = None) -> Tensor:
        """Weights [n, P] of all models, or of some, whose networks must have one shape.

        Raises:
            UsageError: they have not.
        """
        vectors = [self[key].vector(label) for key in (self.keys if keys is None else keys)]
        sizes = sorted({len(v) for v in vectors})
        if len(sizes) > 1:
            raise UsageError(f"these models have {sizes} weights; select those of one shape first: zoo.select(...)")
        return torch.stack(vectors) if vectors else torch.empty(0, 0)

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
            canonical: bring hidden units into the canonical order; without effect where they are permuted.

        Raises:
            UsageError: there is no such column.
        """
        if target is not None and target not in self.rows:
            raise UsageError(f"there is no column {target!r}; the rows have {', '.join(map(str, self.rows.columns))}")
        items = [(model.key, label) for model in self for label in labels if label in model.labels]
        return WeightSet(self.__getitem__, items, target, transform, permute, canonical=canonical)
