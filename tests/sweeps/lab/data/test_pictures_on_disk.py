"""Images on disk: folders, tar shards and folders of the real package `datasets`."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, DataSpec
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, train_pack

CLASSES = ("ant", "bee", "cat")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_folders(root: Path) -> None:
    for split, chosen in (("train", range(12)), ("val", range(3))):
        for i in chosen:
            folder = root / split / CLASSES[LABELS[i]]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:02}.png").write_bytes(png(PIXELS[i]))


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_tars(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("train-0", range(5)), ("train-1", range(5, 12)), ("val-0", range(3))):
        with tarfile.open(root / f"{name}.tar", "w") as tar:
            for i in chosen:
                add(tar, f"part/{i:02}.png", png(PIXELS[i]))
                add(tar, f"part/{i:02}.cls", str(LABELS[i]).encode())
                add(tar, f"part/{i:02}.json", b"{}")


def write_hf(root: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    parts = {
        split: datasets.Dataset.from_dict(
            {"image": [Image.fromarray(PIXELS[i]) for i in range(n)], "label": LABELS[:n].tolist()}, features=features
        )
        for split, n in (("train", 12), ("test", 3))
    }
    datasets.DatasetDict(parts).save_to_disk(root)


WRITERS = {"image_folder": write_folders, "webdataset": write_tars, "hf_dataset": write_hf}
FIELDS: dict[str, dict[str, Any]] = {
    "image_folder": {"size": 8, "processes": 0},
    "webdataset": {"size": 8, "classes": 3, "processes": 0},
    "hf_dataset": {"inputs": "image", "pictures": {"size": 8}},
}


def load(source: str, folder: Path, **fields: Any) -> Data:
    given = {"source": source, "folder": str(folder), **FIELDS[source], **fields}
    return TypeAdapter(DataSpec).validate_python(given).pinned(Path()).load(Path())  # type: ignore[no-any-return]


@pytest.mark.parametrize("source", list(WRITERS))
def test_pixels_and_classes(tmp_path: Path, source: str) -> None:
    WRITERS[source](tmp_path / "data")
    data = load(source, tmp_path / "data")
    assert (data.kind, data.shape, data.classes, data.outputs) == ("images", (3, 8, 8), 3, 3)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "test": 3}
    order = np.argsort(LABELS, kind="stable") if source == "image_folder" else np.arange(12)
    whole = data.splits["train"].head(None)
    assert whole.targets.tolist() == LABELS[order].tolist()
    wanted = torch.from_numpy((PIXELS[order].astype(np.float32) / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    torch.testing.assert_close(whole.inputs, wanted)
    assert torch.equal(data.splits["train"].part(7, 9).inputs, whole.inputs[7:9])


@pytest.mark.parametrize(
    "source", [*list(WRITERS)[:1], *(pytest.param(s, marks=pytest.mark.slow) for s in list(WRITERS)[1:])]
)
def test_processes_change_nothing(tmp_path: Path, source: str) -> None:
    WRITERS[source](tmp_path / "data")
    results = []
    for processes in (0, 2):
        recipe = Recipe.model_validate(
            {
                "data": {"source": source, "folder": str(tmp_path / "data"), **FIELDS[source], "processes": processes},
                "net": {"net": "cnn", "channels": [4]},
                "augment": {"flip": True},
                "steps": 14,
                "batch_size": 5,
                "evaluate": {"splits": ["train", "test"], "first": 3},
            }
        )
        events = train_pack([recipe], recipe.data.load(Path()), backend="loop")
        results.append([dict(e.metrics) for e in events if isinstance(e, Ended)])
    assert results[0] == results[1] and results[0][0]["test_loss"] > 0


def test_scaled_and_cut(tmp_path: Path) -> None:
    """Left half black, right half white, 40 x 20: the middle of the shorter side's scale has both, in halves."""
    pixels = np.zeros((20, 40), np.uint8)
    pixels[:, 20:] = 255
    (tmp_path / "train/a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "train/a/x.png")
    fields: dict[str, Any] = {"splits": {"train": "train"}, "mean": [0.0], "std": [1.0]}
    image = load("image_folder", tmp_path, size=10, channels=1, **fields).splits["train"].head(1).inputs[0]
    assert image.shape == (1, 10, 10)
    assert (image[0, :, :4] == 0).all() and (image[0, :, 6:] == 1).all()
    with pytest.raises(ValidationError, match="mean: give one number, or 3"):
        load("image_folder", tmp_path, mean=[0.1, 0.2])


def test_numbers_of_a_real_data_set(tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {"x": [[float(i), 1.0] for i in range(9)], "a": list(range(9))}
    rows |= {"y": [0.5 * i for i in range(9)], "k": [i % 2 for i in range(9)]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path, num_shards=2)
    plain: dict[str, Any] = {"pictures": None, "targets": "y"}
    data = load("hf_dataset", tmp_path, inputs="x", **plain)
    assert (data.kind, data.shape, data.classes, data.outputs) == ("vectors", (2,), 0, 1)
    assert data.splits["train"].head(None).inputs.tolist() == rows["x"]
    assert data.splits["train"].head(None).targets.flatten().tolist() == rows["y"]
    both = load("hf_dataset", tmp_path, inputs=["a", "y"], pictures=None, targets="k", classes=2)
    assert both.splits["train"].head(None).inputs.tolist() == [[float(i), 0.5 * i] for i in range(9)]
    assert both.splits["train"].head(None).targets.tolist() == rows["k"] and both.classes == 2
    with pytest.raises(SpecError, match=r"data\.classes: k holds whole numbers"):
        load("hf_dataset", tmp_path, inputs="x", pictures=None, targets="k")
    with pytest.raises(SpecError, match="has no column 'z'; it has x, a, y, k"):
        load("hf_dataset", tmp_path, inputs="z", **plain)
    with pytest.raises(SpecError, match=r"data\.classes: a has 0 to 8; classes go from 0 to 1"):
        load("hf_dataset", tmp_path, inputs="x", pictures=None, targets="a", classes=2).splits["train"].head(None)


@pytest.mark.parametrize(
    ("column", "odd", "message"),
    [
        ("x", [1.0, 2.0], r"data: x of .* has values of different lengths; make them equal"),
        ("y", [0.5], r"data: y of .* has values of different lengths"),
        ("x", None, r"data: x of .* (has values of different lengths|holds object)"),
        ("y", [None, None], "data: y of .* holds object, which are no numbers"),
    ],
)
def test_rows_that_are_not_like_the_others(tmp_path: Path, column: str, odd: Any, message: str) -> None:
    """They are found when they are read, in whichever file they lie."""
    rows: dict[str, list[Any]] = {"x": [[float(i)] * 3 for i in range(9)], "y": [[0.5, 1.0]] * 9}
    rows[column][7] = odd
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path, num_shards=2)
    data = load("hf_dataset", tmp_path, inputs="x", targets="y", pictures=None)
    assert len(data.splits["train"].head(5)) == 5
    with pytest.raises(SpecError, match=message):
        data.splits["train"].head(None)


def test_damaged_folders_of_datasets(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"x": [[1.0]] * 9, "y": [1.0] * 9}).save_to_disk(tmp_path)
    fields: dict[str, Any] = {"inputs": "x", "targets": "y", "pictures": None}
    file = next(tmp_path.glob("*.arrow"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpecError, match="is no Arrow file of `datasets`, or is cut off"):
        load("hf_dataset", tmp_path, **fields)
    file.unlink()
    with pytest.raises(SpecError, match=r"lacks data-0.*\.arrow, which its state\.json names"):
        load("hf_dataset", tmp_path, **fields)
    file.write_bytes(whole)
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "i"}]}))
    with pytest.raises(SpecError, match=r"call flatten_indices\(\)"):
        load("hf_dataset", tmp_path, **fields)
    (tmp_path / "state.json").unlink()
    with pytest.raises(SpecError, match=r"has no state\.json; `save_to_disk`"):
        load("hf_dataset", tmp_path, **fields)


def test_damaged_images(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.splits\.train: there is no folder"):
        load("image_folder", tmp_path)
    write_folders(tmp_path)
    spec = TypeAdapter(DataSpec).validate_python({"source": "image_folder", "folder": str(tmp_path), "size": 8})
    pinned = spec.pinned(Path())
    (tmp_path / "train/ant/00.png").write_bytes(b"GIF89a")
    with pytest.raises(SpecError, match=r"00\.png is no image, or is cut off"):
        load("image_folder", tmp_path)
    with pytest.raises(SpecError, match="the split 'train' has other files than the spec was pinned to"):
        pinned.load(Path())
    for file in tmp_path.rglob("val/*/*.png"):
        file.unlink()
    with pytest.raises(SpecError, match=r"data\.splits\.test: .*val has no folders with images"):
        load("image_folder", tmp_path)


@pytest.mark.parametrize("size", [64, 600_000])
def test_a_label_that_was_corrected_in_place_is_seen(tmp_path: Path, size: int) -> None:
    """The headers of a tar file are read once; in a large file the fingerprint does not see every byte."""
    write_tars(tmp_path)
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for i in range(4):
            add(tar, f"{i}.png", png(PIXELS[i]))
            add(tar, f"{i}.json", bytes(size))
            add(tar, f"{i}.cls", b"1")
    assert load("webdataset", tmp_path).splits["train"].head(4).targets.tolist() == [1] * 4
    content = (tmp_path / "train-0.tar").read_bytes()
    place = content.index(b"1", content.index(b"1.cls") + 512)
    (tmp_path / "train-0.tar").write_bytes(content[:place] + b"2" + content[place + 1 :])
    os.utime(tmp_path / "train-0.tar", ns=(0, 0))
    assert load("webdataset", tmp_path).splits["train"].head(4).targets.tolist() == [1, 2, 1, 1]


def test_damaged_tar_shards(tmp_path: Path) -> None:
    write_tars(tmp_path)
    with pytest.raises(SpecError, match=r"data\.classes: .*train-0\.tar has the label 2; they go from 0 to 1"):
        load("webdataset", tmp_path, classes=2)
    with pytest.raises(SpecError, match=r"train-0\.tar, the sample part/00 has no \.index"):
        load("webdataset", tmp_path, label="index")
    with pytest.raises(SpecError, match=r"00\.json should be a whole number, but is b'\{\}'"):
        load("webdataset", tmp_path, label="json")
    with tarfile.open(tmp_path / "train-2.tar.gz", "w:gz") as tar:
        add(tar, "a.png", png(PIXELS[0]))
    with pytest.raises(SpecError, match=r"train-2\.tar\.gz is no plain tar file"):
        load("webdataset", tmp_path)
    (tmp_path / "train-2.tar.gz").unlink()
    os.truncate(tmp_path / "train-1.tar", 600)
    with pytest.raises(SpecError, match=r"train-1\.tar is (cut off in|no plain tar file, or is cut off)"):
        load("webdataset", tmp_path)
