"""An object store that fails: before any work exit code 2, in a run 3 within a minute; the rows are right."""

from __future__ import annotations

import http.server
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from landsweep.orchestrator.errors import StorageError, Unreachable, UsageError
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.lock import DriverLock, driver_lives
from landsweep.orchestrator.storage.store import client, listing
from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.chaos.driver import spec_data
from tests.orchestrator.storage.ledger.driver import content, key, work
from tests.support.cli import LANDSWEEP, LOCAL, command, write_spec
from tests.support.faulty_s3 import Way, faulty_way, now_and_then
from tests.support.paths import ROOT
from tests.support.results import assert_undisturbed
from tests.support.s3 import S3, environment

pytestmark = pytest.mark.rotating

WITHIN = 60.0  # seconds from the first silence to the end, as docs/storage.md says
STARTUP = 30.0  # of a process on a crowded machine; not part of the promise


@pytest.fixture
def way(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """All of this process's requests, and those of its children, take it."""
    with faulty_way(s3.endpoint) as way:
        for name, value in environment(way.endpoint).items():
            monkeypatch.setenv(name, value)
        yield way


# one request


ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>a</ETag>"
    "<Size>1</Size></Contents>"
)


@contextmanager
def listed_by(handler: type[_Endless], monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that a server with this handler answers for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in environment(f"http://127.0.0.1:{server.server_port}").items():
            monkeypatch.setenv(name, value)
        yield Store.at("s3://b/x")
        server.shutdown()


class _Endless(http.server.BaseHTTPRequestHandler):
    """Lists the same hundred files again and again, each time with one more page to come."""

    def page(self) -> str:
        head = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        return head + "".join(ENTRY.format(f"x/lock/{i:06}.json") for i in range(100))

    def do_GET(self) -> None:
        time.sleep(0.05)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.page()}</ListBucketResult>".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("begun", [False, True])
def test_a_listing_without_an_end_is_given_up(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_SECONDS", 1.0)
    with listed_by(_Endless, monkeypatch) as store:
        store.under_way = begun
        for deep in (False, True):
            why = "in a circle, and has named lock/000000.json twice" if deep else "has named nothing new for 1 s"
            with pytest.raises(StorageError if begun else Unreachable, match=why):
                store.list("lock", deep=deep)


class _Empty(_Endless):
    """Names another page each time, and no file."""

    def page(self) -> str:
        return "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"


class _Slow(_Endless):
    """Forty pages of a hundred names, which take two seconds together."""

    def page(self) -> str:
        number = int(parse_qs(urlsplit(self.path).query).get("continuation-token", ["0"])[0])
        more = f"<NextContinuationToken>{number + 1}</NextContinuationToken>" if number < 39 else ""
        names = (f"x/lock/{100 * number + i:06}.json" for i in range(100))
        head = f"<ListBucketResult><IsTruncated>{str(number < 39).lower()}</IsTruncated>{more}"
        return head + "".join(ENTRY.format(name) for name in names)


def test_a_listing_has_no_limit_of_time_while_new_names_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_SECONDS", 1.0)
    with listed_by(_Slow, monkeypatch) as store:
        assert len(store.list("lock", deep=True)) == 4000
    with listed_by(_Empty, monkeypatch) as store, pytest.raises(Unreachable, match="has named nothing new for 1 s"):
        store.list("lock", deep=True)
    monkeypatch.setattr(listing, "_MOST_NAMES", 300)
    with (
        listed_by(_Slow, monkeypatch) as store,
        pytest.raises(Unreachable, match="not come to its end after 300 names"),
    ):
        store.list("lock", deep=True)


@pytest.mark.parametrize("fault", ["409", "done-409", "500", "503", "done-500", "cut", "done-cut", "slow"])
def test_a_write_that_meets_a_fault_now_and_then_is_carried_out_once(way: Way, bucket_url: str, fault: str) -> None:
    store = Store.at(bucket_url)
    way.choose = now_and_then(0.5, (fault,), 5)
    for i in range(8):
        ours, theirs = f"ours {i}".encode(), b"theirs"
        assert store.create(f"rows/{i}", ours) or store.read(f"rows/{i}") == ours, "a lost answer"
        assert not store.create(f"rows/{i}", theirs)
        assert store.read(f"rows/{i}") == ours
    assert way.faults > 1


@pytest.mark.parametrize("fault", ["500", "cut", "half", "slow"])
def test_reading_is_repeated(way: Way, bucket_url: str, fault: str) -> None:
    store = Store.at(bucket_url)
    data = random.Random(3).randbytes(300_000)
    store.replace("weights/a", data)
    way.choose = now_and_then(0.5, (fault,), 5)
    for _ in range(6):
        assert store.read("weights/a") == data and store.list("weights") == [("a", len(data))]
    assert way.faults > 1


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 20))])
def test_a_ledger_under_conflicts_is_that_of_a_quiet_day(way: Way, bucket_url: str, seed: int, tmp_path: Path) -> None:
    quiet = Ledger.create(Store.at(tmp_path), {"id": "a"})
    with quiet.writing() as writer:
        work(writer, 8, 2)
    way.choose = now_and_then(0.3, ("409", "done-409", "done-500", "cut", "done-cut"), seed)
    ledger = Ledger.create(Store.at(bucket_url), {"id": "a"})
    with ledger.writing() as writer:
        work(writer, 8, 2)
    way.choose = now_and_then(0, (), 0)
    assert ledger.verify(key(i) for i in range(8)).sound
    assert content(ledger) == content(quiet)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read", "list", "head"])
def test_a_small_answer_that_comes_byte_by_byte_is_given_up(way: Way, bucket_url: str, what: str) -> None:
    store = Store.at(bucket_url)
    store.replace("rows/a", b"x" * 2000)
    way.choose = now_and_then(1, ("drip-1",), 0)
    ask = {
        "read": lambda: store.read("rows/a"),
        "list": lambda: store.list("rows"),
        "head": lambda: store.head("rows/a", 500),
    }
    began = time.monotonic()
    with pytest.raises(Unreachable):
        ask[what]()
    assert time.monotonic() - began < WITHIN


@pytest.mark.slow
def test_a_large_answer_may_take_longer_as_long_as_it_comes(way: Way, bucket_url: str) -> None:
    store = Store.at(bucket_url)
    data = random.Random(3).randbytes(5 << 20)
    store.replace("weights/a", data)
    way.choose = now_and_then(1, (f"drip-{len(data) // 35}",), 0)
    assert store.read("weights/a") == data, "it takes 35 s"


@pytest.mark.parametrize(("mebibytes", "seconds"), [(4.1, 60), (8, 60), (8.1, 120), (16, 120), (64, 480), (500, 600)])
def test_how_long_an_upload_may_take(mebibytes: float, seconds: float) -> None:
    assert client.patience_for(round(mebibytes * (1 << 20))).silence == seconds


@pytest.mark.slow
def test_a_large_part_that_gets_no_answer_is_given_up(way: Way, bucket_url: str) -> None:
    way.choose = now_and_then(1, ("hang",), 0)
    began = time.monotonic()
    with pytest.raises(Unreachable):
        Store.at(bucket_url).create("rows/a", bytes(5 << 20))
    assert 60 <= time.monotonic() - began < 90


def test_a_store_that_answers_now_and_then_only_is_given_up(
    way: Way, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is answered in the end, but a reader of many files would take hours."""
    monkeypatch.setattr(client, "_MOST_LOST_SECONDS", 6.0)
    store = Store.at(bucket_url)
    for i in range(8):
        store.replace(f"rows/{i}", b"x")
    turn = itertools.cycle(["hang", ""])
    way.choose = lambda method, path, condition: next(turn)
    read = 0
    with pytest.raises(Unreachable, match="answers only now and then: 2 of the last requests got no answer within"):
        for _ in range(8):
            assert store.read(f"rows/{read}") == b"x"
            read += 1
    assert read == 2
    monkeypatch.setattr(client, "_WINDOW_SECONDS", 0.0)
    assert store.read("rows/2") == b"x", "after a while it is asked again"


def test_endless_conflicts_end_with_an_error(way: Way, bucket_url: str) -> None:
    way.choose = now_and_then(1, ("409",), 0)
    store = Store.at(bucket_url)
    with pytest.raises(Unreachable, match="ConditionalRequestConflict"):
        store.prove_exclusive()
    store.under_way = True
    with pytest.raises(StorageError, match=r"ConditionalRequestConflict.*goes on once"):
        store.create("rows/a", b"")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("500", "InternalError: on purpose"),
        ("503", "SlowDown: on purpose"),
        ("403", "RequestTimeTooSkewed.*the clock of this"),
    ],
)
def test_an_error_that_is_answered_is_no_silence(way: Way, bucket_url: str, fault: str, said: str) -> None:
    """The library names its own `retry_timeout` in the text of each error."""
    way.choose = now_and_then(1, (fault,), 0)
    with pytest.raises(Unreachable, match=said) as refused:
        Store.at(bucket_url).reach()
    assert "nothing answers" not in str(refused.value)


@pytest.mark.parametrize(
    ("fault", "said"), [("501", "no conditional writes"), ("unconditional", "ignores the condition")]
)
def test_a_store_that_can_not_keep_drivers_apart_is_refused_at_the_start(
    way: Way, bucket_url: str, fault: str, said: str, tmp_path: Path
) -> None:
    way.choose = now_and_then(1, (fault,), 0)
    with pytest.raises(UsageError, match=said):
        Store.at(bucket_url).prove_exclusive()
    write_spec(tmp_path, spec_data(3, 0.0))
    done = command("run", "spec.yaml", *LOCAL, "--out", bucket_url, cwd=tmp_path, check=2)
    assert said in done.stderr
    way.choose = now_and_then(0, (), 0)
    assert Store.at(bucket_url).list("") == Store.at(bucket_url).list("rows") == [], "nothing is left behind"


def test_a_store_that_honours_conditions_is_taken(way: Way, bucket_url: str) -> None:
    way.choose = now_and_then(0.3, ("409", "500", "done-cut"), 1)
    Store.at(bucket_url).prove_exclusive()
    way.choose = now_and_then(0, (), 0)
    assert Store.at(bucket_url).list("") == []


def test_a_lock_that_the_store_says_is_taken_but_is_not(way: Way, bucket_url: str) -> None:
    store = Store.at(bucket_url)
    way.choose = now_and_then(0.6, ("409",), 2)
    lock = DriverLock.take(store)
    lock.check()
    lock.release()
    assert [name for name, _ in store.list("lock")] == ["000001.json"]


def test_a_lock_that_is_listed_but_not_there(way: Way, bucket_url: str) -> None:
    """Neither the driver nor who asks for one looks for it without end."""
    store, other = Store.at(bucket_url), Store.at(bucket_url)
    lock = DriverLock.take(store, beat=1000)
    way.choose = now_and_then(1, ("hidden",), 0)
    with pytest.raises(StorageError, match=r"lists lock/000001\.json, but does not find it.*goes on once"):
        lock.check()
    for ask in (DriverLock.take, driver_lives):
        with pytest.raises(Unreachable, match="does not find it"):
            ask(other)
    way.choose = now_and_then(0, (), 0)
    lock.check()
    lock.release()


# a run


def started(bucket_url: str, folder: Path, seconds: float) -> subprocess.Popen[str]:
    write_spec(folder, spec_data(2000, seconds))
    site = [*LOCAL, "site.commit_seconds=0.2", "site.shard_seconds=0.2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    words = [*LANDSWEEP, "run", "spec.yaml", *site, "--out", bucket_url]
    return subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "500", "cut", "503", "drip-1", "hidden"])
def test_a_store_that_fails_in_a_run_stops_it_with_code_3_within_a_minute(
    way: Way, bucket_url: str, tmp_path: Path, fault: str
) -> None:
    process = started(bucket_url, tmp_path, 0.05)
    try:
        deadline = time.monotonic() + 120
        while not any(name.startswith("part") for name, _ in Store.at(bucket_url).list("rows")):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.1)
        way.choose = now_and_then(1, (fault,), 0)
        began = time.monotonic()
        said, _ = process.communicate(timeout=WITHIN + STARTUP)
        seconds = time.monotonic() - began
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 3, said
    assert seconds <= WITHIN + STARTUP
    assert "Traceback" not in said and "the same command goes on once" in said
    way.choose = now_and_then(0, (), 0)
    ledger = Ledger.open(Store.at(bucket_url))
    assert ledger.verify().sound and ledger.rows().num_rows > 0


@pytest.mark.parametrize("fault", ["hang", "500"])
def test_a_store_that_fails_before_the_start_is_code_2(way: Way, bucket_url: str, tmp_path: Path, fault: str) -> None:
    way.choose = now_and_then(1, (fault,), 0)
    write_spec(tmp_path, spec_data(3, 0.0))
    command("run", "spec.yaml", *LOCAL, "--out", bucket_url, cwd=tmp_path, check=2, timeout=WITHIN + STARTUP)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_soak(way: Way, bucket_url: str, seed: int) -> None:
    """Faults of all sorts in each run, and the same command again until it is done: the rows of a quiet day."""
    soaked(way, bucket_url, seed)


def soaked(way: Way, bucket_url: str, seed: int) -> tuple[int, int]:
    """Runs that it took, and faults that were met."""
    chance = random.Random(seed)
    sorts = ("409", "done-409", "500", "503", "done-500", "cut", "done-cut", "half", "slow")
    runs = 0
    while True:
        way.choose = now_and_then(chance.uniform(0.02, 0.4), sorts, chance.randrange(1 << 30))
        words = [sys.executable, "-m", "tests.chaos.driver", bucket_url]
        told = '{"units": 60, "site": {"executor": "local", "commit_seconds": 0.02, "shard_seconds": 0.02}}'
        done = subprocess.run([*words, told], cwd=ROOT, capture_output=True, text=True, timeout=300)
        runs += 1
        last = done.stderr.splitlines()[-1:]
        assert done.returncode == 0 or last[0].startswith(
            ("landsweep.orchestrator.errors.StorageError", "landsweep.orchestrator.errors.Unr")
        )
        way.choose = now_and_then(0, (), 0)
        if done.returncode == 0:
            break
        assert runs < 20, done.stderr
    assert_undisturbed(bucket_url, 60)
    assert len(metrics_of(bucket_url)) == 60
    return runs, way.faults
