"""Programs that give their metrics in ways that would hold a worker for ever, or fill its memory: each fails alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landsweep.orchestrator.row import Status
from landsweep.sweeps.lab.programs.searcher import Searcher
from tests.support.programs import Programs

DEEP = "'{\"a\":' * N + '1' + '}' * N"
METRICS = "os.environ['LANDSWEEP_METRICS']"
FILES = "os.environ['LANDSWEEP_DIR']"
EVIL = {  # what the program does, where its metrics come from, and what its row says
    "a pipe for lines": (f"os.mkfifo({METRICS})", {}, "metrics.jsonl is no regular file"),
    "a device for lines": (f"os.symlink('/dev/zero', {METRICS})", {}, "metrics.jsonl is no regular file"),
    "a folder for lines": (f"os.mkdir({METRICS})", {}, "metrics.jsonl is no regular file"),
    "a pipe for a file": (f"os.mkfifo({FILES} + '/m.json')", {"file": "m.json"}, "m.json is no regular file"),
    "a device for a file": (f"os.symlink('/dev/zero', {FILES} + '/m.csv')", {"file": "m.csv"}, "m.csv"),
    "a folder for a file": (f"os.mkdir({FILES} + '/m.jsonl')", {"file": "m.jsonl"}, "m.jsonl is no regular file"),
    "a link to nothing": (f"os.symlink('absent', {METRICS})", {}, "the program gave no metrics"),
    "deep lines": (f"N = 100_000; open({METRICS}, 'w').write({DEEP})", {}, "no JSON that can be read"),
    "less deep lines": (f"N = 990; open({METRICS}, 'w').write({DEEP})", {}, "no JSON that can be read"),
    "a deep file": (f"N = 990; open({FILES} + '/m.json', 'w').write({DEEP})", {"file": "m.json"}, "no JSON that can"),
    "deep lines of a file": (
        f"N = 990; open({FILES} + '/m.jsonl', 'w').write({DEEP})", {"file": "m.jsonl"}, "no JSON that can be read"
    ),
}  # fmt: skip


@pytest.mark.parametrize("sort", EVIL)
def test_what_is_no_file_of_metrics(sort: str, tmp_path: Path) -> None:
    source, metrics, message = EVIL[sort]
    programs = Programs(tmp_path)
    outcome = programs.one(programs.spec(source, command={"metrics": metrics, "timeout": 60}))
    assert outcome.status is Status.failed
    assert message in str(outcome.error)


def test_event_files_that_are_pipes(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    programs = Programs(tmp_path)
    spec = programs.spec(f"os.mkfifo({FILES} + '/events.out.tfevents.1')", command={"metrics": {"tensorboard": "."}})
    assert "is no regular file" in str(programs.one(spec).error)


def test_a_program_that_writes_faster_than_it_is_read_is_ended_in_time(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    source = f"""
        lines = b'{{"a": 1}}\\n' * 100_000
        file = open({METRICS}, 'ab', buffering=0)
        for _ in range(10_000):  # some 9 GB, if nothing ended it
            file.write(lines)
            if file.tell() > 200 << 20:
                file.truncate(0)
        """
    outcome = programs.one(programs.spec(source, command={"timeout": 1, "grace": 0}))
    assert outcome.status is Status.failed and "took longer than command.timeout=1" in str(outcome.error)


def test_lines_are_read_in_parts_and_none_is_lost(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    source = f"""
        with open({METRICS}, 'w') as file:
            for i in range(40_000):
                file.write('{{"step": %d, "loss": %d, "a_name_of_some_length": 0.12345678901234567}}\\n' % (i, i))
        """
    outcomes, points = programs.run(programs.spec(source))
    assert outcomes[0].metrics["loss"] == 39_999
    assert [p.step for p in points] == list(range(40_000))


@pytest.mark.parametrize("pattern", ["(?P<y>(a+)+)$", "(?P<y>(a|aa)+)$", "^(?P<y>(a*)*)b"])
def test_a_pattern_that_would_search_for_years(tmp_path: Path, pattern: str) -> None:
    programs = Programs(tmp_path)
    spec = programs.spec("print('a' * 60 + '!')", command={"timeout": 0.5, "metrics": {"pattern": pattern}})
    outcome = programs.one(spec)
    assert outcome.status is Status.failed and "take too long: the line 'aaa" in str(outcome.error)


def test_many_lines_that_take_long_share_the_time(tmp_path: Path) -> None:
    metrics = {"pattern": ["(?P<y>(a+)+)$", "n=(?P<n>[0-9]+)"]}
    programs = Programs(tmp_path)
    source = "for i in range(100_000): print('a' * 18 + '!')"  # half an hour and more, if nothing ended it
    outcome = programs.one(programs.spec(source, command={"timeout": 2, "metrics": metrics}))
    error = str(outcome.error)
    assert outcome.status is Status.failed
    assert "take too long" in error or "took longer than command.timeout=2" in error


@pytest.mark.parametrize(
    "pattern", ["(?=(?P<y>.*))", "(?P<y>.)(?P<z>(?=.)(?<=.))*(?=(?P<w>.*b))", "(?P<y>.)(?=(?P<z>.{0,5000}))"]
)
def test_a_pattern_that_finds_more_than_there_is_memory_for(tmp_path: Path, pattern: str) -> None:
    """64 KB in which a match begins at each character, and reaches far: 2 GB."""
    programs = Programs(tmp_path)
    columns = {name: {"type": "text"} for name in "wyz"}
    source = "print('ab' * 150_000)"
    spec = programs.spec(source, columns=columns, command={"timeout": 60, "metrics": {"pattern": pattern}})
    outcome = programs.one(spec)
    assert outcome.status is Status.failed
    assert "find too much, or take too much memory, in the line 'abab" in str(outcome.error)


def test_a_pattern_fails_its_unit_alone(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    source = "import sys\nprint('a' * 60 + '!' if sys.argv[1] == '1' else 'aaa')"
    command = {"timeout": 2, "metrics": {"pattern": r"(?P<y>(a+)+)$"}}
    spec = programs.spec(source, axes={"x": [0, 1, 2]}, command=command, columns={"y": {"type": "text"}})
    outcomes, _ = programs.run(spec)
    assert [o.status for o in outcomes] == [Status.ok, Status.failed, Status.ok]
    assert outcomes[2].metrics == {"y": "aaa"}


def test_what_one_unit_left_unread_is_no_answer_to_the_next(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    source = """
        import sys
        x = int(sys.argv[1])
        print('\\n'.join(['y=none' if x == 0 else 'y=1', *['y=%d' % (10 * x)] * 5]))
        """
    outcomes, _ = programs.run(
        programs.spec(source, axes={"x": [0, 1, 2]}, command={"metrics": {"pattern": r"y=(?P<y>\S+)"}})
    )
    assert outcomes[0].status is Status.failed and "is no number" in str(outcomes[0].error)
    assert [o.metrics["y"] for o in outcomes[1:]] == [10, 20]


def test_an_answer_that_nobody_reads_is_dropped() -> None:
    searcher = Searcher()
    first = searcher.search(["(?P<y>.)"], ["a", "b", "c"], 60.0)
    assert next(first)[0][0].groups == {"y": "a"}
    first.close()
    assert [m[0].groups["y"] for m, _ in searcher.search(["(?P<y>.)"], ["d", "e"], 60.0)] == ["d", "e"]


@pytest.mark.parametrize(
    "way", ["signal.signal(signal.SIGALRM, signal.SIG_IGN)", "signal.pthread_sigmask(0, [14])", "0"]
)
def test_a_process_that_ignores_or_blocks_alarms_ends_a_search_all_the_same(way: str) -> None:
    source = (
        f"import signal; {way}\n"
        "from landsweep.sweeps.lab.programs.searcher import Searcher, TooSlow\n"
        "try:\n    list(Searcher().search(['(a+)+$'], ['a' * 40 + 'b'], 0.2))\n"
        "except TooSlow:\n    print('too slow')\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "too slow\n", done.stderr
