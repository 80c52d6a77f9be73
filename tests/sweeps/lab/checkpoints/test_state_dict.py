"""Checkpoints: what is read, what is refused, and how that is said."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.checkpoints.state_dict import CheckpointFile, load_into, read_state


@pytest.fixture
def module() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_both_formats_give_the_state_back(module: nn.Module, tmp_path: Path) -> None:
    state = module.state_dict()
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"epoch": 3, "net": state}, tmp_path / "nested.pt")
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
    load_into(module, state, "whole")  # that one may be absent: older files lack it
    state["2.weight"] = torch.zeros(2, 5)
    state["3.bias"] = state.pop("0.bias")
    with pytest.raises(SpecError) as caught:
        load_into(module, state, "model a")
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


class Wrapping(nn.Module):
    """Has a part that is called as wrappers are."""

    def __init__(self, name: str = "module") -> None:
        super().__init__()
        self.add_module(name, nn.Linear(3, 2))


class Tied(nn.Module):
    """Two layers with one weight; `buffers` adds a table that is shared too."""

    def __init__(self, *, share: bool = True) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        if share:
            self.b.weight = self.a.weight
        table = torch.arange(3.0)
        self.register_buffer("table", table)
        self.register_buffer("again", table if share else table.clone())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_names_of_wrappers_are_taken_off(module: nn.Module, prefix: str) -> None:
    state = {k: v + 1 for k, v in module.state_dict().items()}
    load_into(module, {f"{prefix}{k}": v for k, v in state.items()}, "wrapped")
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("name", ["module", "_orig_mod"])
def test_a_part_that_is_called_like_a_wrapper_keeps_its_name(name: str) -> None:
    own, state = Wrapping(name), {f"{name}.weight": torch.ones(2, 3), f"{name}.bias": torch.ones(2)}
    for given in (state, {f"module.{k}": v for k, v in state.items()}):
        load_into(own, given, "own")
        assert all(torch.equal(v, state[k]) for k, v in own.state_dict().items())
    with pytest.raises(SpecError, match=f"missing: {name}.weight"):
        load_into(own, {k.removeprefix(f"{name}."): v for k, v in state.items()}, "own")


def test_half_wrapped_names_are_not_guessed_at(module: nn.Module) -> None:
    state = {k if k.startswith("0.") else f"module.{k}": v for k, v in module.state_dict().items()}
    with pytest.raises(SpecError, match=r"unexpected: module\.1\.weight"):
        load_into(module, state, "half")


def test_a_file_that_holds_a_shared_tensor_once_is_whole(tmp_path: Path) -> None:
    saved, loaded = Tied(), Tied()
    save_model(saved, str(tmp_path / "tied.safetensors"))
    state = read_state(tmp_path / "tied.safetensors")
    assert len(state) == len(saved.state_dict()) - 2
    load_into(loaded, state, "tied")
    assert all(torch.equal(v, saved.state_dict()[k]) for k, v in loaded.state_dict().items())
    assert loaded.a.weight is loaded.b.weight
    load_into(loaded, {f"module.{k}": v for k, v in state.items()}, "tied and wrapped")
    with pytest.raises(SpecError, match=r"missing: .*weight"):
        load_into(Tied(share=False), state, "untied")


def test_two_values_of_one_tensor_are_refused() -> None:
    state = {k: v.clone() for k, v in Tied().state_dict().items()}
    load_into(Tied(), state, "both names")
    state["b.weight"] += 1
    with pytest.raises(SpecError, match=r"one tensor in the module, but two values: a\.weight and b\.weight"):
        load_into(Tied(), state, "untied since")
