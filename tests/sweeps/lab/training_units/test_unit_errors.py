"""What ends one unit in the middle of a run, and what ends the run: in this process, on one device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.site import Site
from landsweep.sweeps.lab.data.stored import Arrays
from landsweep.sweeps.lab.data.token_files import TokenReader
from tests.support.disk_data import write_tokens
from tests.support.gangs import recipe, rows, run_gangs, story
from tests.sweeps.lab.data.stored_driver import stored_recipe

LOCAL = Site(executor="local")


def fickle(until: int) -> nn.Module:
    return Fickle(until)


class Fickle(nn.Module):
    """A network for digits that uses one of its parameters in its first calls only."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.line, self.scale, self.until, self.calls = nn.Linear(64, 10), nn.Parameter(torch.ones(())), until, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        outputs: torch.Tensor = self.line(x.flatten(1))
        return outputs * self.scale if self.calls <= self.until else outputs


def test_a_network_that_can_not_train_on_fails_its_own_unit_only(tmp_path: Path) -> None:
    own = {"net": "own", "function": f"{__name__}:fickle", "args": {"until": 1000}}
    axes = {"net.args.until": {"values": [20, 1000]}}
    run_gangs(tmp_path, LOCAL, devices=1, recipe=recipe(steps=30, net=own), axes=axes)
    table = rows(tmp_path).set_index("net.args.until")
    assert dict(table["status"]) == {20: "failed", 1000: "ok"}, story(tmp_path)
    assert table["cause"][20] == "error"
    assert "RuntimeError: net: the loss depends on scale in some steps only" in table["error"][20]


def test_data_that_can_not_be_read_any_more_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All units need them: the same command goes on once they are back."""
    write_tokens(tmp_path)
    one = stored_recipe(tmp_path, 0, steps=30).model_dump(mode="json")
    read, reads, most = TokenReader.read, 0, 10**9

    def losing(reader: TokenReader, positions: NDArray[np.int64]) -> Arrays:
        nonlocal reads
        reads += 1
        if reads > most:
            raise SpecError("data: the file has become shorter")
        return read(reader, positions)

    monkeypatch.setattr(TokenReader, "read", losing)
    whole = tmp_path / "out"
    run_gangs(whole, LOCAL, devices=1, recipe=one)
    assert list(rows(whole)["status"]) == ["ok"], story(whole)
    assert reads > 30
    reads, most = 0, reads - 10  # a third of the steps are still to be made
    with pytest.raises(SpecError, match="has become shorter"):
        run_gangs(tmp_path / "lost", LOCAL, devices=1, recipe=one)
