"""Files of weights from anywhere: checkpoints, and zoos in the layout of the small CNN zoos: read or refused."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.sweeps.lab.checkpoints.state_dict import read_state
from tests.attack.fuzzing import fuzz, refusing
from tests.support.published import small_cnn_zoo

HEAD = "varname,start_idx,end_idx,shape\n"
TABLE = "modeldir,step\n" + "a,0\n" * 8
LINES = [
    "",
    ",,,",
    "x,a,b,c",
    "a/dense/bias:0,-10,4960,(10,)",
    "a/dense/bias:0,0,4970,(4970,)",
    "a/conv2d/kernel:0,0,9,(9,)",
]
TABLES = [
    "",
    "modeldir\na\n",
    TABLE,
    *(TABLE + f"a,{step}\n" for step in ("x", "", "1e300", "0.5", "-1")),
    "modeldir,step,key\n" + "a,0,../../x\n" * 9,
    "modeldir,step,weights_file\n" + "a,0,/etc/passwd\n" * 9,
    "modeldir,step,config.modeldir\n" + "a,0,b\n" * 9,
]
FORGED = {  # file to what it holds
    "layout.csv": [b"", b"varname\n", b"\xff\xfe", b"\x00" * 50, *((HEAD + line + "\n").encode() for line in LINES)],
    "metrics.csv.gz": [b"", b"\x1f\x8b", *(gzip.compress(table.encode()) for table in TABLES)],
    "weights.npy": [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'\n ", b"PK\x03\x04"],
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    small_cnn_zoo(folder)
    return folder


def used(folder: Path) -> None:
    """All that reads one of the three files."""
    zoo = Zoo(folder)
    zoo[0].module()
    zoo.vectors()
    assert len(zoo.dataset()[0]) == 4970


def test_a_published_zoo_is_read(published: Path) -> None:
    used(published)


@pytest.mark.parametrize(("name", "number"), [(name, i) for name, all_ in FORGED.items() for i in range(len(all_))])
def test_a_forged_file_of_a_published_zoo(published: Path, tmp_path: Path, name: str, number: int) -> None:
    copy = tmp_path / "z"
    shutil.copytree(published, copy)
    (copy / name).write_bytes(FORGED[name][number])
    with pytest.raises(UsageError, match=re.escape(name)):
        used(copy)


@pytest.mark.parametrize("dtype", ["<i8", "<U4", "<c16", "|O", "|V8"])
def test_weights_that_are_no_numbers(published: Path, tmp_path: Path, dtype: str) -> None:
    copy = tmp_path / "z"
    shutil.copytree(published, copy)
    np.save(copy / "weights.npy", np.zeros((9, 4970)).astype(dtype))
    with pytest.raises(UsageError, match=r"weights\.npy is damaged"):
        used(copy)


@pytest.mark.parametrize("name", ["layout.csv", "weights.npy", "metrics.csv.gz"])
def test_a_pipe_in_a_published_zoo(published: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "z"
    shutil.copytree(published, copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(UsageError):
        used(copy)


def flipped(data: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    """Bytes with a few of them changed, and perhaps the end cut off."""
    new = bytearray(data)
    for place, value in changes:
        new[place % len(new)] = value
    return bytes(new[: len(new) - cut % len(new)] if cut else new)


CHANGES = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=5)


@pytest.mark.parametrize("name", ["layout.csv", "weights.npy", "metrics.csv.gz"])
@fuzz
@given(changes=CHANGES, cut=st.sampled_from([0, 0, 1, 50]))
def test_changed_bytes_of_a_published_zoo(published: Path, name: str, changes: list[tuple[int, int]], cut: int) -> None:
    file = published / name
    before = file.read_bytes()
    try:
        file.write_bytes(flipped(before, changes, cut))
        refusing(lambda: Zoo(published)[0].module())
    finally:
        file.write_bytes(before)


def written(how: str) -> bytes:
    """A checkpoint, as one of the ways to save one writes it."""
    state = {"a": torch.ones(3), "b": torch.zeros(2, 2)}
    if how == "safetensors":
        return save(state)
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=how == "pt")
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["pt", "old", "safetensors"])
@fuzz
@given(changes=CHANGES, cut=st.integers(0, 2000))
def test_changed_bytes_of_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, how: str, changes: list[tuple[int, int]], cut: int
) -> None:
    file = tmp_path_factory.getbasetemp() / ("x.safetensors" if how == "safetensors" else f"{how}.pt")
    file.write_bytes(flipped(written(how), changes, cut))
    refusing(lambda: read_state(file))


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"garbage", b"PK\x03\x04", b"\x80\x02]q\x00.", pickle.dumps([1]), pickle.dumps({"a": print})]
)
def test_what_is_no_checkpoint(tmp_path: Path, data: bytes) -> None:
    for name in ("x.pt", "x.safetensors"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SpecError, match=name):
            read_state(tmp_path / name)


def test_weights_that_do_not_fit_are_named(published: Path, tmp_path: Path) -> None:
    copy = tmp_path / "z"
    shutil.copytree(published, copy)
    layout = (copy / "layout.csv").read_text().replace('"(3, 3, 1, 16)"', '"(3, 3, 16, 1)"')
    (copy / "layout.csv").write_text(layout)
    with pytest.raises(UsageError, match=r"conv1\.weight"):
        used(copy)
