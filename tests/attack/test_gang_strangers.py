"""Whoever reaches the ports of a gang can join its process group, but not tell its members what to run."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import GangBroken
from landsweep.orchestrator.kind import Gang
from landsweep.sweeps.lab.training.collective import Collective
from tests.support.paths import ROOT, SOURCES
from tests.support.s3 import free_port

STRANGER = """
import json, os, pathlib, sys
from datetime import timedelta
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

class Bomb:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(sys.argv[2]),)

os.environ["GLOO_SOCKET_IFNAME"] = "lo"
store = TCPStore("127.0.0.1", int(sys.argv[1]), 2, True, timedelta(seconds=60))
dist.init_process_group("gloo", store=store, rank=0, world_size=2, timeout=timedelta(seconds=60))
dist.barrier()
PrefixStore("tasks", store).set("0", sys.argv[3])
dist.broadcast_object_list([Bomb()], src=0)
sys.stdin.read()
"""
MEMBER = """
import sys
from landsweep.orchestrator.errors import GangBroken
from landsweep.orchestrator.kind import Gang
from landsweep.sweeps.lab.training.collective import Collective

gang = Collective.of(Gang(1, 2, "127.0.0.1", int(sys.argv[1]), 60.0, b"known to members alone"), "cpu")
for read in (gang.next_task, gang.same):
    try:
        print("heard", read(), flush=True)
    except GangBroken as e:
        print("broken", e, flush=True)
"""


def test_a_stranger_as_the_first_member_is_not_believed(tmp_path: Path) -> None:
    """A task names functions to import, and a pickled value would run; the stranger speaks as torch does."""
    trace, port = str(tmp_path / "it-has-run"), str(free_port())
    task = json.dumps({"recipe": {"net": {"net": "own", "function": "os:abort"}}})
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, port, trace, task], stdin=subprocess.PIPE, cwd=tmp_path
    ) as stranger:
        try:
            member = [sys.executable, "-c", MEMBER, port]
            done = subprocess.run(member, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        finally:
            stranger.kill()
    assert done.stdout.count("broken no member of this gang") == 2, done.stdout + done.stderr
    assert not Path(trace).exists()


class Board(dict[str, Any]):
    """A store of one process."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def wait(self, keys: list[str], turn: object) -> None:
        assert set(keys) <= set(self)


def members(board: Board) -> tuple[Collective, Collective]:
    store: Any = board
    first, other = (Collective(store, rank, 2, "cpu", b"s" * 32, timeout=60.0) for rank in range(2))
    return first, other


def test_a_task_is_read_once_and_as_it_was_told() -> None:
    board = Board()
    first, other = members(board)
    first.tell_task({"steps": 1})
    assert other.next_task() == {"steps": 1}
    board["1"] = board["0"]  # told again by somebody who has heard it
    with pytest.raises(GangBroken, match="task 1"):
        other.next_task()


@pytest.mark.parametrize("message", [b"", b"{}", b"\0" * 100, pickle.dumps({"steps": 1})])
def test_words_without_a_signature_are_no_task(message: bytes) -> None:
    board = Board()
    members(board)[0].tell_task({"steps": 1})
    board["0"] = message or board["0"][:-1]
    with pytest.raises(GangBroken, match="another program"):
        members(board)[1].next_task()


def test_no_source_file_has_torch_unpickle_what_members_tell() -> None:
    pattern = re.compile(r"\b(all_gather|broadcast|gather|recv|scatter|send)_object(_list)?\b")
    assert [file for file in SOURCES if pattern.search(file.read_text("utf-8"))] == []


def test_the_secret_is_in_no_text() -> None:
    assert "hidden" not in repr(Gang(0, 2, "127.0.0.1", 1, 60.0, b"hidden"))
