"""Pipes, sockets, devices and files of absurd size in a results folder are refused by name, at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from landsweep.cluster.launch import EXIT_FILE
from landsweep.cluster.launchers.launcher import log_text, status_at_end
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.inside import no_links
from landsweep.orchestrator.storage.store import Store
from tests.attack.folders import ZOO, landsweep, ran

READS: dict[str, Callable[[Store, str], object]] = {
    "read": lambda store, path: store.read(path),
    "head": lambda store, path: store.head(path, 8),
    "checksum": lambda store, path: store.checksum(path),
    "fetch": lambda store, path: store.fetch(path, Path("unused")),
}
FILES = (
    "sweep.json", "status.json", "running.json", "in-flight.json", "lock/000001.json", "rows/part-000000.parquet",
    "weights/pack.safetensors", "prepared/timings.safetensors", "jobs/0001/job.json",
)  # fmt: skip


def refused(path: Path, read: Callable[[], object]) -> str:
    """The refusal of a read; one that waits for a writer is let go after a while and fails."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            with pytest.raises(UsageError) as refusal:
                reading.result(60)
        finally:
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    return str(refusal.value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", READS)
def test_a_pipe_is_refused_by_name(tmp_path: Path, file: str, how: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / file)
    store = Store.at(tmp_path)
    assert f"{tmp_path / file} is a named pipe (FIFO)" in refused(tmp_path / file, lambda: READS[how](store, file))


def test_devices_sockets_and_links_to_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(tmp_path):
        listening.bind("socket")
    store = Store.at(tmp_path)
    for name, what in (("zero", "device"), ("link", "named pipe (FIFO)"), ("socket", "socket")):
        assert f"{name} is a {what}" in refused(tmp_path / name, lambda name=name: store.read(name))  # type: ignore[misc]


def test_links_to_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"rows")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "part").symlink_to(tmp_path / "elsewhere")
    assert Store.at(tmp_path / "sweep").read("part") == b"rows"


@pytest.mark.parametrize("file", ["sweep.json", "lock/000001.json", "jobs/0001/job.json"])
def test_json_of_absurd_size_is_not_read(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    os.truncate(tmp_path / file, 64 << 20)
    store = Store.at(tmp_path)
    assert len(store.read(file)) == 64 << 20
    os.truncate(tmp_path / file, 1 << 40)
    with pytest.raises(UsageError, match=r"has 1,099,511,627,776 bytes, and at most 67,108,864 of JSON are read"):
        store.read(file)


def test_pipes_are_neither_sent_nor_shown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.html")
    refused(tmp_path / "index.html", lambda: no_links(tmp_path))
    os.mkfifo(tmp_path / EXIT_FILE)
    refused(tmp_path / EXIT_FILE, lambda: status_at_end(tmp_path))
    os.mkfifo(tmp_path / "log.txt")
    refused(tmp_path / "log.txt", lambda: log_text(tmp_path / "log.txt"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("pipes"), ZOO)


def test_commands_end_with_one_line(own: Path, tmp_path: Path) -> None:
    """Also for what is no pipe: rows without a byte, and a folder of the card that is a file."""
    part = next((own / "rows").glob("part-*")).name
    weights = next((own / "weights").iterdir()).name

    def pipe(file: Path) -> None:
        file.unlink(missing_ok=True)
        os.mkfifo(file)

    def empty(file: Path) -> None:
        file.write_bytes(b"")

    cases = (
        ("status", "sweep.json", pipe), ("verify", f"weights/{weights}", pipe), ("zoo-card", f"rows/{part}", pipe),
        ("zoo-card", f"rows/{part}", empty), ("zoo-card", "card", pipe), ("zoo-card", "card", empty),
    )  # fmt: skip
    for i, (words, file, change) in enumerate(cases):
        results = tmp_path / str(i)
        shutil.copytree(own, results)
        change(results / file)
        done = landsweep(words, results, cwd=tmp_path)  # it can be ended if it waits
        assert done.returncode == (1 if words == "verify" else 2), (words, file, done.stdout, done.stderr)
        assert file in (done.stdout + done.stderr).replace("\n", ""), done.stderr
        assert "Traceback" not in done.stderr
