"""Data that stay on disk: formats, order, the same bits as data in memory, kills, memory, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, DataSpec, Split, TokenFiles
from landsweep.sweeps.lab.data.order import Permutation, shuffled_order
from landsweep.sweeps.lab.training import Ended, train_pack
from tests.support.disk_data import write_tokens
from tests.support.paths import ROOT
from tests.sweeps.lab.data.stored_driver import stored_recipe

LLM_C = np.array([20240520, 1, 1], "<i4").tobytes()  # the first numbers of a header


def in_memory(tokens: list[np.ndarray[Any, Any]], context: int = 16) -> Data:
    """The same sequences, cut by slicing."""
    cut = []
    for part in tokens:
        n = (len(part) - 1) // context
        cut.append([part[i * context : i * context + context + 1] for i in range(n)])
    parts = {"train": np.array([s for part in cut[:-1] for s in part]), "test": np.array(cut[-1])}
    splits = {
        name: Split(torch.from_numpy(s[:, :-1].copy()), torch.from_numpy(s[:, 1:].copy())) for name, s in parts.items()
    }
    return Data.of(splits, 50)


def ended(recipes: list[Any], data: Data, backend: str = "loop") -> list[dict[str, float]]:
    return [dict(e.metrics) for e in train_pack(recipes, data, backend=backend) if isinstance(e, Ended)]


@pytest.mark.parametrize("n", [1, 2, 3, 1000, (1 << 20) + 7, pytest.param((1 << 21) + 1, marks=pytest.mark.slow)])
def test_permutations_are_bijections(n: int) -> None:
    one = Permutation(5, n)(np.arange(n))
    assert (np.bincount(one, minlength=n) == 1).all() and len(one) == n
    few = np.array([0, n - 1, n // 2])
    assert (Permutation(5, n)(few) == one[few]).all()
    if n > 1000:
        other = Permutation(6, n)(np.arange(n))
        assert (one == other).mean() < 10 / n * np.log(n)
        for values in (one, other):
            assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / np.sqrt(n)  # five standard errors


def test_shares_nest_and_the_order_is_that_of_data_in_memory() -> None:
    few, many = (shuffled_order(3, 200, share).own(200) for share in (0.25, 0.5))
    assert set(few) < set(many) and len(few) == 50
    passes = [shuffled_order(3, 200, 0.25).positions(epoch, 0, 50) for epoch in (0, 1)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(few) and list(passes[0]) != list(passes[1])


@pytest.mark.parametrize("processes", [0, 2])
def test_trains_to_the_bits_of_data_in_memory(tmp_path: Path, processes: int) -> None:
    tokens = write_tokens(tmp_path)
    for fields in ({}, {"train_fraction": 0.5, "drop_last": True}, {"epochs": 1, "steps": None, "batch_size": 100}):
        recipes = [stored_recipe(tmp_path, processes, seed=s, **{"steps": 30, **fields}) for s in (0, 1, 0)]
        stored = recipes[0].data.load(Path())
        memory = in_memory(tokens)
        assert {n: len(s) for n, s in stored.splits.items()} == {n: len(s) for n, s in memory.splits.items()}
        assert torch.equal(stored.splits["train"].inputs, memory.splits["train"].inputs)
        assert torch.equal(stored.splits["test"].targets, memory.splits["test"].targets)
        assert (stored.kind, stored.sequence, stored.outputs, stored.shape) == ("tokens", True, 50, (16,))
        assert ended(recipes, stored) == ended(recipes, memory)


def test_every_back_end_reads_it(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    recipes = [stored_recipe(tmp_path, seed=s, steps=12) for s in range(3)]
    data = recipes[0].data.load(Path())
    reference = ended(recipes, data)
    for other in ended(recipes, data, "vmap"), ended(recipes, data, "auto"):
        for a, b in zip(reference, other, strict=True):
            assert a == pytest.approx(b, rel=1e-5)


def command(folder: Path, state: Path, processes: int, steps: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.sweeps.lab.data.stored_driver",
        str(folder),
        str(state),
        *map(str, (processes, steps)),
    ]


def driven(folder: Path, state: Path, processes: int, steps: int = 300) -> list[dict[str, float]]:
    done = subprocess.run(
        command(folder, state, processes, steps), cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def losses(lines: list[dict[str, float]]) -> dict[tuple[float, float], dict[str, float]]:
    """Metrics of each model at each step; what was evaluated again after the kill must be the same."""
    given: dict[tuple[float, float], dict[str, float]] = {}
    for line in (line for line in lines if "step" in line):
        place = line["index"], line["step"]
        metrics = {name: value for name, value in line.items() if name not in ("index", "step")}
        assert given.setdefault(place, metrics) == metrics
    return given


@pytest.mark.slow
def test_killed_in_the_middle_it_sees_the_same_batches(tmp_path: Path) -> None:
    """SIGKILL while processes read ahead; they end too, and the losses are those of a training that was left alone."""
    write_tokens(tmp_path / "data")
    whole = losses(driven(tmp_path / "data", tmp_path / "whole", 0))
    lines, readers = [], []
    begun = [*command(tmp_path / "data", tmp_path / "cut", 2, 300), "120"]
    with subprocess.Popen(begun, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1].get("made", 0) >= 120:  # where it waits, its readers ahead of it
                readers = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(signal.SIGKILL)
                break
    assert len(readers) > 2 and lines[-1]["made"] < 300
    lines += driven(tmp_path / "data", tmp_path / "cut", 0)
    assert losses(lines) == whole
    psutil.wait_procs(readers, timeout=60)
    assert not [p for p in readers if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Ten times the data, 400 MB of it, takes no 40 MB more; the files are holes, which are read like any others."""
    peaks = []
    for name, size in (("small", 20_000_000), ("large", 200_000_000)):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("train.bin", "val.bin"):
            (folder / file).touch()
            os.truncate(folder / file, 2 * size)
        peaks.append(max(line.get("peak", 0) for line in driven(folder, tmp_path / f"{name}.state", 0, 100)))
    assert 0 < peaks[1] - peaks[0] + 40_000 < 80_000


def loaded(folder: Path, **fields: Any) -> Data:
    spec = TypeAdapter(DataSpec).validate_python(
        {"source": "token_files", "folder": str(folder), "vocabulary": 50, "context": 16, **fields}
    )
    return spec.load(Path())  # type: ignore[no-any-return]


def test_what_is_wrong_is_seen_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.folder: there is no folder"):
        loaded(tmp_path / "nowhere")
    write_tokens(tmp_path)
    with pytest.raises(SpecError, match=r"data\.shards\.train: no file in .* fits 'no\*'; there are: train_0\.bin, "):
        loaded(tmp_path, shards={"train": "no*"})
    with pytest.raises(SpecError, match=r"train_0\.bin fits the patterns of train and of test"):
        loaded(tmp_path, shards={"train": "*.bin", "test": "train_0*"})
    with pytest.raises(ValidationError, match="must be the name of a file inside of the folder"):
        loaded(tmp_path, shards={"train": "../*.bin"})
    with pytest.raises(SpecError, match=r"has the token 49 at place \d+, but the vocabulary has 49, from 0"):
        loaded(tmp_path, vocabulary=49)
    with pytest.raises(SpecError, match=r"val\.npy|context: 4000 is longer"):
        loaded(tmp_path, context=4000)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train_0.bin", b"\0" * 4001, "4001 bytes, which are no whole number of tokens"),
        ("train_1.bin", None, "it is cut off"),
        ("train_1.bin", LLM_C + b"\0\0", "should have 1026 bytes for 1 tokens, but has 14: it is cut off"),
        ("train_1.bin", LLM_C[:4] + b"\2\0\0\0" + LLM_C[8:] + bytes(2000), "is of version 2, not 1"),
        ("val.npy", None, "it is cut off"),
        ("val.npy", b"no array", "is no NumPy array"),
        ("val.npy", "floats", "holds float64"),
        ("val.npy", "matrix", r"holds uint16 \[10, 20\]"),
        ("val.npy", "big", "tokens are one row of little-endian"),
    ],
)
def test_damaged_shards(tmp_path: Path, file: str, content: bytes | str | None, message: str) -> None:
    write_tokens(tmp_path)
    odd = {"floats": np.zeros(9), "matrix": np.zeros((10, 20), "u2"), "big": np.zeros(2000, ">u2")}
    if isinstance(content, str):
        np.save(tmp_path / file, odd[content])
    else:
        (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-2] if content is None else content)
    with pytest.raises(SpecError, match=message):
        loaded(tmp_path)


def test_tokens_beyond_the_vocabulary_deep_in_a_file(tmp_path: Path) -> None:
    tokens = np.zeros(300_000, "<u2")
    tokens[100_001] = 60
    tokens.tofile(tmp_path / "train.bin")
    tokens[:1000].tofile(tmp_path / "val.bin")
    with pytest.raises(SpecError, match=r"train\.bin has the token 60 at place 100001, .* raise it"):
        loaded(tmp_path).splits["train"].head(10_000)


@pytest.mark.parametrize("processes", [0, 2])
def test_what_a_reader_finds_wrong_is_said_as_it_is(tmp_path: Path, processes: int) -> None:
    """Also by a process that reads ahead, whose errors torch would wrap into a traceback."""
    tokens = np.zeros(300_000, "<u2")
    within = shuffled_order(0, (len(tokens) - 1) // 16).positions(0, 12 * 8, 40 * 8) * 16 + 5  # of steps 12 to 39
    looked_at = np.concatenate([np.arange(4096) + (len(tokens) - 4096) * i // 15 for i in range(16)])
    tokens[np.setdiff1d(within, looked_at)] = 60
    tokens.tofile(tmp_path / "train.bin")
    np.zeros(1000, "<u2").tofile(tmp_path / "val.bin")
    recipe = stored_recipe(tmp_path, processes, steps=40)
    with pytest.raises(SpecError, match=r"^data\.vocabulary: .*train\.bin has the token 60 .*\(uint16\)"):
        list(train_pack([recipe], recipe.data.load(Path()), backend="loop"))


def test_files_are_pinned(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    big = np.zeros(2_000_000, "<u2")
    big.tofile(tmp_path / "train_0.bin")
    spec = TokenFiles(source="token_files", folder=str(tmp_path), vocabulary=50, context=16).pinned(Path())
    spec.load(Path())
    assert sorted(spec.digests or {}) == ["train_0.bin", "train_1.bin", "train_2.bin", "val.npy"]
    big[:8000] = 1
    big.tofile(tmp_path / "train_0.bin")
    with pytest.raises(SpecError, match=r"train_0\.bin has changed since the spec was pinned"):
        spec.load(Path())
    (tmp_path / "train_0.bin").unlink()
    with pytest.raises(SpecError, match=r"train_0\.bin is missing"):
        spec.load(Path())


def test_a_shard_cut_off_while_it_is_read(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    data = loaded(tmp_path)
    os.truncate(tmp_path / "train_0.bin", 100)
    with pytest.raises(SpecError, match=r"train_0\.bin has become shorter"):
        data.splits["train"].head(100)


def test_what_only_data_in_memory_can_do_is_refused(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    for fields, message in (
        ({"evaluate": {"splits": ["train"]}}, r"evaluate: each evaluation would read all \d+ samples of train"),
        ({"evaluate": {}}, "give `first`, or name the `splits`"),
        ({"label_noise": 0.1}, "label_noise: it is drawn for all labels at once"),
        ({"train_fraction": 0.5, "evaluate": {"first": 9}}, "there is no train loss"),
    ):
        recipe = stored_recipe(tmp_path, **fields)
        with pytest.raises(SpecError, match=message):
            train_pack([recipe], recipe.data.load(Path()), backend="loop")
