"""Mixtures: shares, what nests in what, repeats, splits; and streams of the user's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Data, DataSpec
from landsweep.sweeps.lab.data.mixture import MixtureOrder
from landsweep.sweeps.lab.data.stored import StoredSplit
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Ended, train_pack
from landsweep.sweeps.zoo.kind import ZooKind
from landsweep.sweeps.zoo.plan import Grid
from landsweep.sweeps.zoo.spec import ZooSpec
from tests.support.disk_data import write_tokens

SIZES = {"a": 100, "b": 40, "c": 1000}
MARKOV = {"source": "markov", "states": 8, "context": 8, "train": 64, "test": 16}
MIXTURE = {
    "source": "mixture",
    "domains": {"one": MARKOV, "two": {**MARKOV, "seed": 1, "train": 32}},
    "weights": {"one": 0.75, "two": 0.25},
}


@pytest.mark.parametrize("seed", range(20))
def test_shares_and_passes(seed: int) -> None:
    """Counts are binomial; a domain is seen once before it is seen twice; parts of the order are the whole one's."""
    weights = [0.3, 0.2, 0.5]
    order = MixtureOrder(seed, SIZES, weights, 500)
    whole = np.concatenate([order.positions(epoch, 0, 500) for epoch in range(4)])
    bounds = np.cumsum([0, *SIZES.values()])
    for i, (size, weight) in enumerate(zip(SIZES.values(), weights, strict=True)):
        mine = whole[(whole >= bounds[i]) & (whole < bounds[i + 1])] - bounds[i]
        assert abs(len(mine) - 2000 * weight) < 5 * np.sqrt(2000 * weight * (1 - weight))
        for start in range(0, len(mine) - size + 1, size):
            assert sorted(mine[start : start + size]) == list(range(size))
    again = MixtureOrder(seed, SIZES, weights, 500)
    assert (again.positions(3, 123, 321) == whole[1623:1821]).all()
    assert (again.positions(0, 7, 9) == whole[7:9]).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_fraction_has_its_share_of_each_domain_and_the_same_weights(seed: int) -> None:
    """Passes are as much shorter; smaller fractions nest; all of a domain's share is seen before any is seen again."""
    weights, bounds = [0.3, 0.2, 0.5], np.cumsum([0, *SIZES.values()])
    seen: dict[float, list[set[int]]] = {}
    for fraction in (0.1, 0.5):
        order = MixtureOrder(seed, SIZES, weights, 4000, fraction)
        assert order.count == 4000 * fraction
        whole = np.concatenate([order.positions(epoch, 0, order.count) for epoch in range(round(2 / fraction))])
        for i, (size, weight) in enumerate(zip(SIZES.values(), weights, strict=True)):
            mine = whole[(whole >= bounds[i]) & (whole < bounds[i + 1])]
            assert abs(len(mine) - 8000 * weight) < 5 * np.sqrt(8000 * weight * (1 - weight))
            own = round(fraction * size)
            assert len({*mine[:own].tolist()}) == own and {*mine.tolist()} == {*mine[:own].tolist()}
            seen.setdefault(fraction, []).append({*mine.tolist()})
    assert all(few < many for few, many in zip(seen[0.1], seen[0.5], strict=True))
    parts = [MixtureOrder(seed, SIZES, weights, 4000, f).positions(0, 0, 300) for f in (1.0, 0.999999)]
    assert (np.searchsorted(bounds, parts[0], "right") == np.searchsorted(bounds, parts[1], "right")).all()


def test_a_recipe_trains_on_a_fraction_of_a_mixture() -> None:
    splits = {"splits": ["test_one"]}
    half, whole = (trained(MIXTURE, train_fraction=f, epochs=2, steps=None, evaluate=splits)[0] for f in (0.5, 1.0))
    assert 0 < half["test_one_loss"] != whole["test_one_loss"]


def test_weights_are_shares_and_zero_is_never() -> None:
    one, other = (MixtureOrder(0, SIZES, w, 1000).positions(0, 0, 1000) for w in ([1, 1, 0], [0.5, 0.5, 0]))
    assert (one == other).all() and one.max() < 140
    assert (MixtureOrder(0, SIZES, [0, 0, 3], 1000).positions(0, 0, 1000) >= 140).all()


def test_a_further_domain_leaves_the_order_of_the_others() -> None:
    few = MixtureOrder(2, {"a": 50}, [1], 50).positions(0, 0, 50)
    more = MixtureOrder(2, {"a": 50, "b": 9}, [0.5, 0.5], 100).positions(0, 0, 80)
    mine = more[more < 50]
    assert (mine == few[: len(mine)]).all() and len(mine) > 20


class Counting(MixtureOrder):
    """Counts the samples whose domains it has drawn."""

    drawn = 0

    def domains(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        self.drawn += stop - start
        return super().domains(start, stop)


def test_an_evaluation_does_not_make_training_begin_anew() -> None:
    """What comes before a batch is counted once, also where the first samples are looked at in between."""
    order, plain = (kind(0, SIZES, [1, 1, 1], 10**6) for kind in (Counting, MixtureOrder))
    order.positions(0, 500_000, 500_010)
    for start in (500_010, 500_020):
        order.own(100)
        assert (order.positions(0, start, start + 10) == plain.positions(0, start, start + 10)).all()
    assert order.drawn == 500_030 + 2 * 100


def load(spec: dict[str, Any], base: Path = Path()) -> Data:
    return TypeAdapter(DataSpec).validate_python(spec).pinned(base).load(base)  # type: ignore[no-any-return]


def test_splits_and_what_is_trained_on() -> None:
    data = load(MIXTURE)
    assert {n: len(s) for n, s in data.splits.items()} == {"train": 96, "test_one": 16, "test_two": 16}
    parts = {name: load(spec) for name, spec in MIXTURE["domains"].items()}  # type: ignore[attr-defined]
    rows = Counter(tuple(x.tolist()) for x in data.splits["train"].head(None).inputs)
    known = {tuple(x.tolist()): name for name, d in parts.items() for x in d.splits["train"].inputs}
    shares = Counter()
    for row, n in rows.items():
        shares[known[row]] += n
    assert shares.total() == 96 and 55 < shares["one"] < 88
    train = data.splits["train"]
    assert isinstance(train, StoredSplit)
    assert TypeAdapter(DataSpec).validate_python(MIXTURE).dimensions().splits == tuple(data.splits)


def trained(data: dict[str, Any], **fields: Any) -> list[dict[str, float]]:
    given = {
        "data": data,
        "net": {"net": "gpt", "width": 8, "depth": 1, "heads": 1},
        "optimizer": {"method": "adamw", "learning_rate": 0.01},
        "steps": 20,
        "batch_size": 8,
        "evaluate": {"splits": ["test_one", "test_two"]},
    }
    recipe = Recipe.model_validate({**given, **fields})
    events = train_pack([recipe], recipe.data.load(Path()), backend="loop")
    return [dict(e.metrics) for e in events if isinstance(e, Ended)]


def test_a_domain_alone_is_learned_best_by_its_own_weight() -> None:
    """The loss on each domain falls with its weight, to that of training on it alone."""
    results = {w: trained({**MIXTURE, "weights": {"one": w, "two": 1 - w}}, steps=60)[0] for w in (0.0, 0.5, 1.0)}
    assert results[1.0]["test_one_loss"] < results[0.5]["test_one_loss"] < results[0.0]["test_one_loss"]
    assert results[0.0]["test_two_loss"] < results[0.5]["test_two_loss"] < results[1.0]["test_two_loss"]


def test_domains_on_disk_and_in_memory(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tok")
    tokens = {"source": "token_files", "folder": str(tmp_path / "tok"), "vocabulary": 50, "context": 8}
    spec = {"source": "mixture", "domains": {"one": tokens, "two": {**MARKOV, "states": 50}}, "samples": 40}
    data = load(spec)
    assert {n: len(s) for n, s in data.splits.items()} == {"train": 40, "test_one": 377, "test_two": 16}
    assert trained(spec, epochs=2, steps=None)[0]["test_two_loss"] > 0


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="weights: there must be one for each of"):
        load({**MIXTURE, "weights": {"one": 1}})
    with pytest.raises(ValidationError, match="must be 0 or more"):
        load({**MIXTURE, "weights": {"one": 0, "two": 0}})
    with pytest.raises(ValidationError, match="with a finite sum above 0"):
        load({**MIXTURE, "weights": {"one": 1e308, "two": 1e308}})
    with pytest.raises(ValidationError, match="is part of the names of columns"):
        load({**MIXTURE, "domains": {"my web": MARKOV}, "weights": None})
    with pytest.raises(SpecError, match=r"one has the classes 8, two has 9"):
        load({**MIXTURE, "domains": {"one": MARKOV, "two": {**MARKOV, "states": 9}}})
    with pytest.raises(SpecError, match=r"data\.domains\.two: data\.folder: there is no folder"):
        TypeAdapter(DataSpec).validate_python(
            {**MIXTURE, "domains": {"one": MARKOV, "two": {"source": "token_files", "folder": "no", "vocabulary": 8}}}
        ).load(tmp_path)


def test_splits_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    """And a split whose name begins as the one that is trained on is one to test on."""
    write_tokens(tmp_path)
    tokens = {"source": "token_files", "folder": str(tmp_path), "vocabulary": 50, "context": 8}
    spec = {"source": "mixture", "domains": {"b": {**tokens, "shards": {"train": "train_0*", "test_a": "val*"}}}}
    spec["domains"]["a_b"] = {**tokens, "shards": {"train": "train_1*", "test": "val*"}}
    for act in (load, lambda given: TypeAdapter(DataSpec).validate_python(given).dimensions()):
        with pytest.raises(SpecError, match="test_a_b would be both the split 'test_a' of b and the split 'test' of"):
            act(spec)
    spec["domains"] = {"b": {**tokens, "shards": {"train": "train_0*", "train_too": "val*"}}}
    assert list(load(spec).splits) == ["train", "train_too_b"]
    assert TypeAdapter(DataSpec).validate_python(spec).dimensions().splits == ("train", "train_too_b")


def stream(split: str, seed: int, worker: int, workers: int, n: int = 10**9, width: int = 3) -> Iterator[Any]:
    """Samples of a share: batches of 4 of one sequence of numbers, dealt out in turn."""
    for i in range(n):
        if i // 4 % workers == worker:
            rng = np.random.default_rng([seed, i, split == "test"])
            yield rng.normal(size=width).astype(np.float32), int(rng.integers(3))


skipped: list[int] = []


def skipping(split: str, seed: int, worker: int, workers: int, skip: int = 0) -> Iterator[Any]:
    skipped.append(skip)
    for i, sample in enumerate(stream(split, seed, worker, workers)):
        if i >= skip:
            yield sample


def broken(split: str, seed: int, worker: int, workers: int, fault: str) -> Iterator[Any]:
    if fault == "raises" and split == "train":
        raise OSError("the bucket is gone")
    for _ in range(30):
        yield {
            "raises": ([1.0], 0),
            "no pair": 5,
            "text": (["a"], 0),
            "class": ([1.0], 7),
            "short": ([1.0], 0),
            "token": ([0, 3], [0, 1]),
            "negative token": ([0, -1], [0, 1]),
        }[fault]


def streamed(workers: int, function: str = "stream", **fields: Any) -> Recipe:
    data = {"source": "iterable", "function": f"{__name__}:{function}", "train": 40, "test": 9, "classes": 3}
    given = {
        "data": {**data, "workers": workers},
        "net": {"net": "mlp", "hidden": [4]},
        "steps": 25,
        "batch_size": 4,
        "evaluate": {"splits": ["test"], "every_steps": 5},
    }
    return Recipe.model_validate({**given, **fields})


@pytest.mark.parametrize("function", ["stream", "skipping"])
def test_a_stream_goes_on_where_it_was(function: str) -> None:
    recipe = streamed(0, function)
    data = recipe.data.load(Path())
    whole = [dict(e.metrics) for e in train_pack([recipe], data, backend="loop") if isinstance(e, Ended)]
    training = train_pack([recipe], data, backend="loop")
    for event in training:
        if isinstance(event, Beat) and training.step >= 15:
            break
    skipped.clear()
    state = {name: array.copy() for name, array in training.state().items()}
    resumed = [e for e in train_pack([recipe], data, backend="loop", resume=state) if isinstance(e, Ended)]
    assert [dict(e.metrics) for e in resumed] == whole
    assert function == "stream" or 20 in skipped  # steps 10 to 14 of the second pass, of ten batches


def test_shares_of_two_workers_are_the_batches_of_one() -> None:
    """This stream deals its batches out in turn, so two workers give the batches that one gives."""
    results = []
    for workers in (0, 2):
        recipe = streamed(workers)
        events = train_pack([recipe], recipe.data.load(Path()), backend="loop")
        results.append([dict(e.metrics) for e in events if isinstance(e, Ended)])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", r"data: .*:broken raised OSError: the bucket is gone"),
        ("no pair", r"must give pairs \(input, target\); it gave int"),
        ("text", "inputs of .*:broken hold <U1, which are no numbers"),
        ("class", "targets of .*:broken must be whole numbers from 0 to 2; got 7 to 7"),
        ("short", "ended 2 samples too early"),
        ("token", "tokens of .*:broken must be whole numbers from 0 to 2; got 0 to 3"),
        ("negative token", "tokens of .*:broken must be whole numbers from 0 to 2; got -1 to 0"),
    ],
)
def test_streams_that_are_wrong(fault: str, message: str) -> None:
    data = {"function": f"{__name__}:broken", "train": 32, "test": 9, "classes": 3, "args": {"fault": fault}}
    recipe = streamed(0, data={"source": "iterable", **data}, steps=8)
    with pytest.raises(SpecError, match=message):
        list(train_pack([recipe], recipe.data.load(Path()), backend="loop"))


@pytest.mark.parametrize("name", ["seed", "worker", "skip"])
def test_what_the_training_gives_is_no_argument(name: str) -> None:
    """A seed of the user's would be the same for every pass, so all passes would be one."""
    with pytest.raises(ValidationError, match=f"{name}: is given by the training"):
        streamed(0, data={**streamed(0).data.model_dump(), "args": {name: 0}})


def study(**fields: Any) -> ZooSpec:
    recipe = streamed(0).model_dump(mode="json")
    recipe |= {"data": MIXTURE, "net": {"net": "gpt", "width": 8, "depth": 1, "heads": 1}, "steps": 4}
    recipe["evaluate"] = {"splits": ["test_one", "test_two"]}
    samples = {"count": 50, "draw": {"data.weights": {"dirichlet": {"one": 1, "two": 2}}}}
    return parse(ZooSpec, {"kind": "zoo", "name": "mix", "recipe": recipe, "samples": samples, **fields}, "spec")


def test_weights_are_drawn_from_a_simplex() -> None:
    """Shares add up to 1, more draws begin with the fewer ones, and the first has the mean of Beta(1, 2)."""
    spec = study()
    assert spec.samples is not None
    drawn = [spec.samples.values(i) for i in range(2000)]
    ones = np.array([d["data.weights.one"] for d in drawn], float)
    assert all(abs(sum(d.values()) - 1) < 2e-6 for d in drawn)  # type: ignore[arg-type]
    assert abs(ones.mean() - 1 / 3) < 5 * np.sqrt(1 / 18 / 2000) and abs(ones.var() - 1 / 18) < 0.01
    units = list(Grid(spec))
    assert len(units) == 50 and units[7]["data.weights.two"] == drawn[7]["data.weights.two"]
    with pytest.raises(SpecError, match=r"weights: there must be one for each of"):
        kind = ZooKind()
        kind.validate(study(samples={"count": 2, "draw": {"data.weights": {"dirichlet": {"one": 1, "x": 1}}}}))
    with pytest.raises(SpecError, match="swept twice"):
        study(axes={"data.weights.one": [0.5]})
