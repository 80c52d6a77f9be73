"""Specs and command lines of any content through `plan`: a plan or a refusal, in bounded time and memory.

`make fuzz` tries more of the same.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landsweep.orchestrator.kind import kinds
from tests.attack.folders import command
from tests.attack.fuzzing import JSON, ODD, RAW, fuzz, mutated

GIGABYTES, SECONDS = 3, 120  # far more than any plan takes, far less than one that is not bounded
EXAMPLES = {name: {"kind": name, **kind.example().model_dump(mode="json")} for name, kind in kinds().items()}
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("k"))
)
FILES = [
    b"kind: function\nkind: zoo\n", b"&f {a: *f}", b"[" * 100_000, b"{a: " * 50_000, b"- kind", b"\t- a", BOMB,
    b"kind: !!python/object:os.system x", b"kind: function\nname: " + b"x" * 5_000_000, b"kind: [function]",
    b"? [a]\n: b", b"<<: [1]", b"kind: 1e999",
    b"--- a\n--- b", b"%YAML 3.0\n---\na: b", b"kind: function\nname: \xff", b"a: 010", b"a: 1:30",
]  # fmt: skip


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """What takes too long, or too much memory, raises here."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no end after {SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIGABYTES * 2**30, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def planned(folder: Path, data: bytes, *words: str) -> int:
    (folder / "spec.yaml").write_bytes(data)
    with bounded():
        done = command("plan", "spec.yaml", "--no-calibrate", *words, cwd=folder)
    assert done.returncode in (0, 2), done
    assert "Traceback" not in done.stderr and (done.returncode == 0 or "error: " in done.stderr), done
    assert len(done.stderr) < 100_000, "a refusal is not as long as what it refuses"
    assert [file.name for file in folder.iterdir()] == ["spec.yaml"], "a plan writes nothing"
    return done.returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_are_plans(folder: Path, kind: str) -> None:
    assert planned(folder, json.dumps(EXAMPLES[kind]).encode()) == 0


@pytest.mark.parametrize("data", FILES, ids=lambda data: ascii(data[:20])[2:-1])
def test_files_that_are_no_specs(folder: Path, data: bytes) -> None:
    assert planned(folder, data) == 2


@given(RAW | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
@fuzz
def test_any_text(folder: Path, data: bytes) -> None:
    assert planned(folder, data) == 2


@given(st.text("kindfuctoame:[]{}&*!|>-?#'\"%@,\n \t0123456789.~<", max_size=60))
@fuzz
def test_any_yaml(folder: Path, text: str) -> None:
    planned(folder, b"kind: function\nname: a\n" + text.encode())


@pytest.mark.parametrize("number", [10**5, 10**9, 10**15, 10**40])
@pytest.mark.parametrize("field", ["axes.start.range", "seeds.range", "axes.lr.linear.2"])
def test_endless_axes(folder: Path, field: str, number: int) -> None:
    """As a plan of so many units, or refused."""
    data = json.loads(json.dumps(EXAMPLES["function"])) | {"axes": {"start": {"range": 3}, "lr": {"linear": [0, 1, 3]}}}
    planned(folder, json.dumps(data).encode(), f"{field}={number}")


@given(st.data(), st.sampled_from(sorted(EXAMPLES)))
@fuzz
def test_any_values_in_a_spec(folder: Path, data: st.DataObject, kind: str) -> None:
    content = json.dumps(data.draw(mutated(EXAMPLES[kind])))
    planned(folder, content.encode("utf-8", "surrogatepass"))


def paths(content: dict[str, Any], above: str = "") -> list[str]:
    """Every field of a spec, as the command line names it."""
    here = [f"{above}{name}" for name in content]
    return here + [p for n, v in content.items() if isinstance(v, dict) for p in paths(v, f"{above}{n}.")]


ENDLESS = [{"range": 10**9}, {"linear": [0, 1, 10**9]}, {"log2": [0, 1, 10**7]}, {"product": [{"range": 10**6}] * 9}]
VALUES = (ODD | JSON | st.sampled_from(ENDLESS)).map(lambda value: json.dumps(value, ensure_ascii=False)) | st.text(
    max_size=12
)


@given(st.data(), st.sampled_from(sorted(EXAMPLES)))
@fuzz
def test_any_changes_on_the_command_line(folder: Path, data: st.DataObject, kind: str) -> None:
    """Of fields that are there, of new ones, and of the site."""
    names = st.sampled_from(paths(EXAMPLES[kind])) | st.text(max_size=8) | st.sampled_from(["site.workers", "site.x"])
    changes = data.draw(st.lists(st.tuples(names, VALUES), min_size=1, max_size=3))
    words = [f"{name}={value}" for name, value in changes]
    planned(folder, json.dumps(EXAMPLES[kind]).encode(), *[word for word in words if word and word[0] not in "-"])
