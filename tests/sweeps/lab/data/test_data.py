"""Data sources on small files that the tests write."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Cifar10, Digits, Mnist, OwnData
from landsweep.sweeps.lab.data.cifar10 import read_batch
from landsweep.sweeps.lab.data.mnist import read_idx


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, packed: bool = False) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 7), ("t10k", 3)):
        arrays[f"{part}-images-idx3-ubyte"] = random.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = random.integers(0, 10, n).astype(np.uint8)
    for name, values in arrays.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    return arrays


def write_cifar(folder: Path) -> None:
    random = np.random.default_rng(1)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {b"data": random.integers(0, 256, (4, 3072), np.uint8), b"labels": [0, 1, 9, 3]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def test_digits_are_split_fairly_and_always_alike() -> None:
    data, again = (Digits(source="digits").load(Path()) for _ in range(2))
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 1400, "test": 397}
    assert (data.classes, data.shape) == (10, (1, 8, 8))
    for name, split in data.splits.items():
        assert torch.equal(split.inputs, again.splits[name].inputs)
        assert int(split.targets.bincount().min()) >= len(split) // 14  # no class is rare in either split
    everything = torch.cat([s.inputs for s in data.splits.values()])
    assert abs(float(everything.mean())) < 1e-4
    assert abs(float(everything.std()) - 1) < 1e-4


def test_validation_images_are_held_back_from_training_and_from_nothing_else() -> None:
    whole, parted = Digits(source="digits").load(Path()), Digits(source="digits", validation=200).load(Path())
    assert {k: len(s) for k, s in parted.splits.items()} == {"train": 1200, "validation": 200, "test": 397}
    for field in ("inputs", "targets"):
        seen = [getattr(parted.splits[name], field) for name in ("train", "validation")]
        assert torch.equal(torch.cat(seen), getattr(whole.splits["train"], field))
        assert torch.equal(getattr(parted.splits["test"], field), getattr(whole.splits["test"], field))
    assert "validation" not in Digits(source="digits").model_dump()  # keys of sweeps without it stay as they were
    with pytest.raises(SpecError, match="1400 of 1400 training images leave none"):
        Digits(source="digits", validation=1400).load(Path())


def test_files_of_images_can_be_held_back_from(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    mnist = Mnist(source="mnist", folder=".", validation=2).load(tmp_path)
    assert {k: len(s) for k, s in mnist.splits.items()} == {"train": 5, "validation": 2, "test": 3}
    write_cifar(tmp_path)
    cifar = Cifar10(source="cifar10", folder=".", validation=8).load(tmp_path)
    assert {k: len(s) for k, s in cifar.splits.items()} == {"train": 12, "validation": 8, "test": 4}


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_reads_what_was_written(tmp_path: Path, packed: bool) -> None:
    arrays = write_mnist(tmp_path, packed=packed)
    data = Mnist(source="mnist", folder=".").pinned(tmp_path).load(tmp_path)
    assert data.shape == (1, 28, 28)
    back = data.splits["test"].inputs * 0.3081 + 0.1307
    wanted = torch.from_numpy(arrays["t10k-images-idx3-ubyte"][:, None] / 255)
    torch.testing.assert_close(back.double(), wanted, rtol=0, atol=1e-6)
    assert data.splits["train"].targets.tolist() == arrays["train-labels-idx1-ubyte"].tolist()


def test_a_truncated_idx_file_says_how_many_bytes(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SpecError, match=r"train-images-idx3-ubyte should hold 5504 bytes .* holds 5404"):
        Mnist(source="mnist", folder=".").load(tmp_path)


def test_a_truncated_gzip_and_a_wrong_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(np.zeros((3, 28, 28), np.uint8)))[:-12])
    (tmp_path / "b").write_bytes(b"<html>not found</html>")
    with pytest.raises(SpecError, match=r"a\.gz .*damaged gzip"):
        read_idx(tmp_path / "a.gz", 3)
    with pytest.raises(SpecError, match=r"b is no IDX file .*'3c68746d'"):
        read_idx(tmp_path / "b", 3)


def test_missing_folder_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no folder .*nowhere"):
        Mnist(source="mnist", folder="nowhere").pinned(tmp_path)
    write_cifar(tmp_path)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(SpecError, match="lacks data_batch_3; cifar10 needs 6 files"):
        Cifar10(source="cifar10", folder=".").pinned(tmp_path)


def test_a_file_changed_after_pinning_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    spec = Mnist(source="mnist", folder=".").pinned(tmp_path)
    file = tmp_path / "train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(SpecError, match="other content"):
        spec.load(tmp_path)


def test_cifar_reads_what_was_written(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    data = Cifar10(source="cifar10", folder=".").load(tmp_path)
    assert {k: tuple(s.inputs.shape) for k, s in data.splits.items()} == {
        "train": (20, 3, 32, 32),
        "test": (4, 3, 32, 32),
    }
    content = pickle.loads((tmp_path / "data_batch_2").read_bytes())
    red = content[b"data"][1][:1024].reshape(32, 32) / 255
    np.testing.assert_allclose(data.splits["train"].inputs[5, 0].numpy() * 0.2470 + 0.4914, red, atol=1e-6)
    assert data.splits["test"].targets.tolist() == [0, 1, 9, 3]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path("pwned").touch, ())  # type: ignore[return-value]


@pytest.mark.parametrize(
    "content", [pickle.dumps(Evil()), b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85R."]
)
def test_a_cifar_file_cannot_run_code(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(SpecError, match="which is not allowed"):
        read_batch(tmp_path / "test_batch")
    assert not (tmp_path / "pwned").exists()


def test_a_truncated_cifar_batch_is_named(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    file = tmp_path / "test_batch"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(SpecError, match=r"test_batch can't be read as a CIFAR-10 batch.* has 5000 bytes"):
        Cifar10(source="cifar10", folder=".").load(tmp_path)


def two_splits(n: int) -> dict[str, tuple[np.ndarray, list[int]]]:
    inputs = np.zeros((n, 5), np.float32)
    inputs.setflags(write=False)
    return {"train": (inputs, [0, 2] * (n // 2)), "test": (inputs[:2], [1, 1])}


def uneven() -> dict[str, object]:
    return {"train": (np.zeros((3, 2)), np.zeros(2, int))}


def test_own_data_comes_from_a_function() -> None:
    data = OwnData(source="callable", path=f"{__name__}:two_splits", args={"n": 6}).load(Path())
    assert (data.classes, data.shape, len(data.splits["train"])) == (3, (5,), 6)
    with pytest.raises(SpecError, match="has 3 inputs and 2 targets"):
        OwnData(source="callable", path=f"{__name__}:uneven").load(Path())
    with pytest.raises(SpecError, match="has no 'missing'"):
        OwnData(source="callable", path=f"{__name__}:missing").load(Path())
