"""Settings of arithmetic and memory in a gang: two real processes against one, with the same global batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from landsweep.orchestrator.errors import GangBroken, SpecError
from landsweep.sweeps.lab.data.iterable import IterableData
from landsweep.sweeps.lab.data.stored import StoredSplit
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.collective import passing
from landsweep.sweeps.lab.training.place import Place
from landsweep.sweeps.lab.training.streamed import samples_of
from tests.support.disk_data import write_tokens
from tests.support.gangs import recipe
from tests.support.two_members import alone, trained

SGD = {"optimizer": {"method": "sgd", "momentum": 0.9, "learning_rate": 0.05}, "clip": 0.5}
DROPOUT = {"net": {"net": "gpt", "width": 16, "depth": 1, "heads": 2, "dropout": 0.1}}
SPIKES = {"optimizer": {"method": "sgd", "learning_rate": 0.6}, "spike": {"times": 1.02, "window": 4}}
OWN = {"net": "own", "function": "tests.support.two_members:counting", "args": {}}
DDP: dict[str, tuple[dict[str, Any], float]] = {
    "bf16": (recipe("gpt", precision="bf16", **SGD), 2e-3),
    "bf16_weights": (recipe("gpt", precision="bf16", bf16_weights=True, **SGD), 2e-3),
    "parts": (recipe("gpt", micro_batch=4, **SGD, **DROPOUT), 1e-6),
    "memory": (recipe("gpt", recompute=True, attention="fused", **SGD), 1e-6),
    "spikes": (recipe(on_spike="skip", **SPIKES), 1e-6),
    "stop": (recipe(on_spike="stop", **SPIKES | {"evaluate": {"every_steps": 2}}), 1e-6),
    "fp16": (recipe(precision="fp16", **SGD), 2e-3),
    "augmented": (recipe(augment={"shift": 1}, **SGD), 1e-6),
}
FSDP: dict[str, tuple[dict[str, Any], float]] = {
    "bf16": (recipe("gpt", precision="bf16", **SGD), 2e-3),
    "all": (recipe("gpt", micro_batch=4, recompute=True, attention="fused", **SGD, **DROPOUT), 1e-6),
    "own": (recipe(net=OWN, evaluate={"every_steps": 25, "splits": ["test"]}), 1e-6),
}
BROKEN = recipe(net={**OWN, "args": {"last": 20}}, evaluate={"every_steps": 50})


@pytest.mark.rotating
def test_data_parallel_members_compute_what_one_computes(tmp_path: Path) -> None:
    seen = trained(tmp_path, {name: ("ddp", one) for name, (one, _) in DDP.items()})
    for name, (one, allowed) in DDP.items():
        assert_as_alone(name, one, seen[name], allowed)
    assert seen["spikes"]["skipped"] > 0 and seen["stop"]["status"] == "diverged"


@pytest.mark.slow
def test_members_that_hold_half_of_the_weights_compute_what_one_computes(tmp_path: Path) -> None:
    """And an error of the network is not taken for a lost member."""
    seen = trained(tmp_path, {n: ("fsdp", one) for n, (one, _) in FSDP.items()} | {"broken": ("fsdp", BROKEN)})
    wanted = {name: assert_as_alone(name, one, seen[name], allowed) for name, (one, allowed) in FSDP.items()}
    spared = wanted["own"]["evaluated"] - seen["own"]["evaluated"]
    assert spared == 2 * 141 + 16, "of 397 samples all but the first 256, twice; in a trial of one batch half of it"
    assert seen["broken"]["error"] == "RuntimeError" and "mat1 and mat2" in seen["broken"]["text"]


@pytest.mark.slow
def test_a_state_in_parts_goes_on_with_any_number_of_devices(tmp_path: Path) -> None:
    """Two write it; one, two and three go on, of tensors whose first axis none or one of them has something of."""
    settings = {"evaluate": {"every_steps": 10}, "averaging": {"average": "exponential", "decay": 0.9}}
    case = recipe("gpt", **SGD, **settings)
    whole = trained(tmp_path, {"x": ("fsdp", case)}, save_at=20)["x"]
    states = tmp_path / "states"
    assert len(list(states.glob("x.part-*"))) == 2
    assert not any(name.startswith("weights") for name in load_file(states / "x.safetensors")), "these lie in the parts"
    for members in (1, 2, 3):
        given = alone(case, tmp_path, "x") if members == 1 else trained(tmp_path, {"x": ("fsdp", case)}, members)["x"]
        assert "error" not in given, given
        assert np.abs(np.subtract(given["losses"], whole["losses"])).max() < 1e-6, members
        assert np.abs(np.subtract(given["weights"], whole["weights"])).max() < 1e-5, members
    next(states.glob("x.part-*-1*")).unlink()
    with pytest.raises(SpecError, match="not whole"):
        alone(case, tmp_path, "x")


def assert_as_alone(name: str, one: dict[str, Any], given: dict[str, Any], allowed: float) -> dict[str, Any]:
    """A batch of 33, so members have 17 and 16 samples, and in micro-batches of 4 as many parts each."""
    wanted = alone(one)
    assert "error" not in given, (name, given)
    assert [given[k] for k in ("status", "step", "skipped")] == [wanted[k] for k in ("status", "step", "skipped")], name
    assert len(given["losses"]) == len(wanted["losses"]) > 0, name
    assert np.abs(np.subtract(given["losses"], wanted["losses"])).max() < allowed, name
    assert np.abs(np.subtract(given["weights"], wanted["weights"])).max(initial=0) < 10 * allowed, name
    return wanted


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [::1]:5: reset"), True),
        (RuntimeError("Application timeout caused pair closure"), True),
        (torch.distributed.DistBackendError("NCCL communicator was aborted on rank 0"), True),
        (ConnectionResetError("peer"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
    ],
)
def test_which_errors_say_that_a_member_is_lost(error: Exception, broken: bool) -> None:
    """The texts are those that torch gave when the other process had ended, and when it was silent."""
    with pytest.raises(GangBroken if broken else type(error)), passing():
        raise error


def tokens(folder: Path) -> Recipe:
    data = {"source": "token_files", "folder": str(folder), "context": 8, "vocabulary": 50}
    return Recipe.model_validate(recipe("gpt", data=data, evaluate={"splits": ["test"]}))


def test_each_member_reads_its_samples_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tokens(tmp_path)
    one = tokens(tmp_path)
    data = one.data.load(Path())
    split = data.splits["train"]
    assert isinstance(split, StoredSplit)
    read: list[int] = []
    reader = type(split.reader)
    before = reader.read
    monkeypatch.setattr(
        reader, "read", lambda self, positions: (read.append(len(positions)), before(self, positions))[1]
    )
    whole, halves = samples_of([one], data), [samples_of([one], data, Place(rank, 2)) for rank in (0, 1)]
    read.clear()
    for step in (0, 1, 7):
        batch, parts = whole.batch(step), [half.batch(step) for half in halves]
        for rank, part in enumerate(parts):
            assert all(torch.equal(a[:, rank::2], b) for a, b in zip(batch, part, strict=True))
        assert whole.width(step) == batch[0].shape[1]
    assert read == [33, 17, 16] * 3


MADE = 0


def numbers(split: str, seed: int, worker: int, workers: int, skip: int = 0) -> Iterator[tuple[list[float], int]]:
    """An endless stream that knows nothing of gangs."""
    yield from ranked(split, seed, worker, workers, 0, 1, skip)


def ranked(
    split: str, seed: int, worker: int, workers: int, rank: int, ranks: int, skip: int = 0
) -> Iterator[tuple[list[float], int]]:
    """The same; makes the samples of one member alone."""
    global MADE
    i = rank + ranks * skip
    while True:
        MADE += 1
        random = np.random.default_rng([seed % 2**32, worker, i, split == "test"])
        yield random.random(3).tolist(), int(random.integers(3))
        i += ranks


@pytest.mark.parametrize("function", ["numbers", "ranked"])
def test_a_stream_knows_rank_and_worker(function: str) -> None:
    """Two workers, batches of 6, a pass of 50 with a last batch of 2, read in order and from the middle."""
    global MADE
    data = IterableData.model_validate(
        {"source": "iterable", "function": f"{__name__}:{function}", "train": 50, "test": 4, "classes": 3, "workers": 2}
    )
    split = data.load(Path()).splits["train"]
    assert isinstance(split, StoredSplit)
    whole, halves = split.reader.feed(1, 1.0), [split.reader.feed(1, 1.0) for _ in (0, 1)]
    batches = [(epoch, 6 * b, min(6 * b + 6, 50), b) for epoch in (0, 1) for b in range(9)]
    made = {}
    for step, place in enumerate(batches):
        MADE = 0
        inputs, targets = whole.take(*place)
        made["whole"] = made.get("whole", 0) + MADE
        for rank, half in enumerate(halves):
            if step < 5 and rank:
                continue  # this one goes on from a state
            MADE = 0
            own = half.take(*place, rank, 2)
            made[rank] = made.get(rank, 0) + MADE
            assert np.array_equal(own[0], inputs[rank::2]) and np.array_equal(own[1], targets[rank::2])
    assert made["whole"] == 100
    assert made[0] == (50 if function == "ranked" else 100), "a function that knows makes no sample in vain"
