"""Checkpoints: what is read, what is refused, and how that is said."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from orchestrator.errors import SpecError
from sweeps.lab.checkpoint import CheckpointFile, fit, read_state


@pytest.fixture
def module() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_both_formats_give_the_state_back(module: nn.Module, tmp_path: Path) -> None:
    state = module.state_dict()
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"epoch": 3, "net": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "nested.pt")
    for read in (
        read_state(tmp_path / "a.pt"),
        read_state(tmp_path / "a.safetensors"),
        read_state(tmp_path / "nested.pt", "net"),
    ):
        assert read.keys() == state.keys()
        assert all(torch.equal(read[k], v) for k, v in state.items())


def test_what_does_not_fit_is_listed(module: nn.Module) -> None:
    state = module.state_dict()
    del state["1.num_batches_tracked"]
    fit(module, state, "whole")  # that one may be absent: older files lack it
    state["2.weight"] = torch.zeros(2, 5)
    state["3.bias"] = state.pop("0.bias")
    with pytest.raises(SpecError) as caught:
        fit(module, state, "model a")
    text = str(caught.value)
    assert "model a does not fit" in text
    assert "missing: 0.bias" in text
    assert "unexpected: 3.bias" in text
    assert "2.weight: given [2, 5], wanted [2, 4]" in text


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("pwned",))


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"w": Evil()}))
    torch.save({"w": Evil()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(SpecError, match="can't be read as tensors only"):
            read_state(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_damaged_and_nested_files_say_what_to_do(module: nn.Module, tmp_path: Path) -> None:
    torch.save({"state_dict": module.state_dict(), "epoch": 1}, tmp_path / "nested.pt")
    with pytest.raises(SpecError, match=r"state_dict, epoch; .*entry: state_dict"):
        read_state(tmp_path / "nested.pt")
    with pytest.raises(SpecError, match="no entry 'net'"):
        read_state(tmp_path / "nested.pt", "net")
    whole = (tmp_path / "nested.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "half.safetensors").write_bytes(whole[:50])
    for name in ("half.pt", "half.safetensors"):
        with pytest.raises(SpecError, match=f"{name} .*bytes.*can't be read"):
            read_state(tmp_path / name)


def test_a_checkpoint_is_pinned_by_content(module: nn.Module, tmp_path: Path) -> None:
    torch.save(module.state_dict(), tmp_path / "a.pt")
    pinned = CheckpointFile(file="a.pt").pinned(tmp_path)
    assert pinned.load(tmp_path).keys() == module.state_dict().keys()
    torch.save({k: v + 1 for k, v in module.state_dict().items()}, tmp_path / "a.pt")
    with pytest.raises(SpecError, match="has changed since"):
        pinned.load(tmp_path)
    with pytest.raises(SpecError, match="there is no file"):
        CheckpointFile(file="b.pt").pinned(tmp_path)
