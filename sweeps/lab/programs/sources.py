"""Where the metrics of a program come from: lines of JSON, printed lines, and files that it leaves at its end."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from landsweep.sweeps.lab.callables.results import Unfit
from landsweep.sweeps.lab.programs.metrics import flat, number_of, parsed
from landsweep.sweeps.lab.programs.output import Kept, Lines
from landsweep.sweeps.lab.programs.searcher import Searcher, TooMuch, TooSlow
from landsweep.sweeps.lab.programs.spec import Metrics

__all__ = ["Sources", "lacks_tensorboard"]

Record = tuple[dict[str, Any], str]
_CHUNK = 1 << 20
_SLACK = 2.0  # s; by which clocks of a file system and of its users may differ


class Sources:
    """The sources of one attempt, read as they grow and once more at the end.

    Args:
        metrics: which they are.
        lines: the file of JSON lines, which the program may write.
        files: the folder {dir}.
        streams: what is printed.
        types: of declared columns: what a pattern gives for a column of text stays text.
        searcher: of patterns.
        most: seconds that it may take for all that is printed; None: no limit but that of each line.
    """

    def __init__(
        self,
        metrics: Metrics,
        lines: Path,
        files: Path,
        streams: tuple[Kept, ...],
        types: Mapping[str, str] | None,
        searcher: Searcher,
        most: float | None,
    ) -> None:
        self._metrics, self._path, self._files, self._streams = metrics, lines, files, streams
        lines.unlink(missing_ok=True)
        self._began = _stamp(lines)
        self._types = types or {}
        self._patterns = metrics.patterns
        self._searcher, self._searching = searcher, math.inf if most is None else most
        self._matches = [0] * len(self._patterns)
        self._lines, self._digest = Lines(), hashlib.blake2b()
        self._read = self._records = self._printed = 0

    def news(self, *, last: bool = False) -> Iterator[Record]:
        """Records since the last call, each with where it comes from.

        Args:
            last: the program has ended.

        Raises:
            Unfit: a record is not of the form that its source should have.
        """
        yield from self._of_lines(last=last)
        for stream in self._streams if self._patterns else ():
            yield from self._of_print(stream.news(last=last))

    def at_end(self) -> Iterator[Record]:
        """Records of files that are read once.

        Raises:
            Unfit: a file is not there, was not written by this attempt, or can't be read; or a source gave nothing.
        """
        if self._metrics.tensorboard is not None:
            yield from _events(self._files / self._metrics.tensorboard)
        if self._metrics.file is not None:
            yield from _READERS[Path(self._metrics.file).suffix](self._fresh(self._metrics.file))

    def check_used(self) -> None:
        """Whether each pattern has matched, and whether anything was reported.

        Raises:
            Unfit: a pattern never matched, or the program has no other source and gave no line.
        """
        for pattern, matches in zip(self._patterns, self._matches, strict=True):
            if not matches:
                raise Unfit(
                    f"the pattern {pattern.pattern!r} matched none of the {self._printed:,} lines that the program "
                    "printed; compare it with the output below"
                )
        other = self._patterns or self._metrics.file or self._metrics.tensorboard
        if not self._records and not other:
            raise Unfit(
                "the program gave no metrics. Let it write JSON lines to the file that the variable LANDSWEEP_METRICS "
                "names, or say under `metrics` which pattern, file or tensorboard folder they come from"
            )

    def _of_lines(self, *, last: bool) -> Iterator[Record]:
        for line in self._new_lines(last=last):
            self._records += 1
            try:
                record = parsed(line, f"$LANDSWEEP_METRICS, line {self._records}")
            except Unfit:
                self._check_appended()  # a better reason
                raise
            yield record, "$LANDSWEEP_METRICS"
        if last:
            self._check_appended()

    def _check_appended(self) -> None:
        """Whether what was read of the file of JSON lines is still how it begins: else lines were never seen.

        Raises:
            Unfit: it is not.
        """
        digest, left = hashlib.blake2b(), self._read
        with suppress(FileNotFoundError), _regular(self._path).open("rb") as file:
            while left and (data := file.read(min(left, _CHUNK))):
                digest.update(data)
                left -= len(data)
        if digest.digest() != self._digest.digest():
            raise Unfit(
                "the file that $LANDSWEEP_METRICS names was written anew, or removed, while the program ran: lines of "
                'it were never read. Append to it, as open(path, "a") does, or write another file and name it under '
                "metrics.file: that one is read at the end"
            )

    def _new_lines(self, *, last: bool) -> Iterator[str]:
        """Of the file of JSON lines; a running program may write faster than they are read, so only a part at once."""
        try:
            with _regular(self._path).open("rb") as file:
                file.seek(self._read)
                while data := file.read(_CHUNK):
                    self._read += len(data)
                    self._digest.update(data)
                    yield from self._lines.feed(data)
                    if not last:
                        return
        except FileNotFoundError:
            pass
        if last:
            yield from self._lines.rest()

    def _of_print(self, lines: Sequence[str]) -> Iterator[Record]:
        texts = [pattern.pattern for pattern in self._patterns]
        self._printed += len(lines)
        try:
            for matches, seconds in self._searcher.search(texts, lines, self._searching):
                self._searching -= seconds
                for number, groups in matches:
                    self._matches[number] += 1
                    pattern = self._patterns[number]
                    given = {name: text for name, text in groups.items() if text is not None}
                    yield {name: self._number(name, text, pattern) for name, text in given.items()}, "the pattern"
        except TooSlow as e:
            raise Unfit(
                f"the patterns {', '.join(map(repr, texts))} take too long: the line {e.line[:80]!r} was searched for "
                f"{e.seconds:.3g} s, and was not the end of it. Repeat nothing that repeats itself, as (a+)+ does"
            ) from None
        except TooMuch as e:
            raise Unfit(
                f"the patterns {', '.join(map(repr, texts))} find too much, or take too much memory, in the line "
                f"{e.line[:80]!r} of {len(e.line):,} characters. Let no match begin inside of another, as (?=(.*)) does"
            ) from None

    def _number(self, name: str, text: str, pattern: re.Pattern[str]) -> Any:  # noqa: ANN401 - a metric
        if self._types.get(name) == "text":
            return text
        value = number_of(text)
        if value is None:
            raise Unfit(
                f"the group {name} of the pattern {pattern.pattern!r} matched {text[:80]!r}, which is no number; "
                f"narrow the pattern, or declare {{{name}: {{type: text}}}} under columns"
            )
        return value

    def _fresh(self, name: str) -> Path:
        """The file that a unit has left, which must be of this attempt."""
        fitting = sorted(self._files.glob(name), key=lambda p: p.stat().st_mtime)
        if not fitting:
            files = sorted(p.relative_to(self._files).as_posix() for p in self._files.rglob("*"))[:20]
            raise Unfit(f"the program left no file {name} in {{dir}}; there are: {', '.join(files) or 'none'}")
        if fitting[-1].stat().st_mtime < self._began - _SLACK:
            raise Unfit(f"{fitting[-1].name} in {{dir}} is of an earlier attempt: the program did not write it again")
        return _regular(fitting[-1])


def _regular(path: Path) -> Path:
    """A file that can be read to its end; a pipe would hold the worker, and a device would never end.

    Raises:
        Unfit: it is something else. What is not there is not refused.
    """
    if path.exists() and not path.is_file():
        raise Unfit(f"{path.name} is no regular file; let the program write a plain one")
    return path


def _stamp(path: Path) -> float:
    """The time now by the clock of the file system that holds a path."""
    probe = path.with_suffix(".clock")
    probe.write_bytes(b"")
    now = probe.stat().st_mtime
    probe.unlink()
    return now


def _of_json(path: Path) -> Iterator[Record]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        records = data if isinstance(data, list) else [data]
        if not all(isinstance(record, dict) for record in records):
            raise Unfit(f"{path.name}: it must hold an object of metrics, or a list of such")
        records = [flat(record) for record in records]
    except (ValueError, OSError, RecursionError) as e:
        raise Unfit(f"{path.name}: it is no JSON that can be read: {e}") from e
    yield from ((record, path.name) for record in records)


def _of_json_lines(path: Path) -> Iterator[Record]:
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if line.strip():
            yield parsed(line, f"{path.name}, line {number}"), path.name


def _of_csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if None in row or None in row.values():
                raise Unfit(f"{path.name}: a row has not as many cells as the head: {list(row.values())}")
            cells = {name: text for name, text in row.items() if text.strip()}
            yield {name: text if (n := number_of(text)) is None else n for name, text in cells.items()}, path.name


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".json": _of_json,
    ".jsonl": _of_json_lines,
    ".csv": _of_csv,
}


def lacks_tensorboard() -> str | None:
    """Complaint where the package that reads event files is not installed, or None."""
    if find_spec("tensorboard") is not None:
        return None
    return (
        "metrics.tensorboard: event files are read by the package tensorboard, which is not installed: "
        "`pip install tensorboard`, or take the metrics from another source"
    )


def _events(folder: Path) -> Iterator[Record]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paths = sorted({_regular(path).parent for path in folder.rglob("*tfevents*")})
    if not paths:
        raise Unfit(f"there are no event files of TensorBoard in {folder}")
    for path in paths:
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        prefix = "" if path == folder else f"{path.relative_to(folder).as_posix()}/"
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                yield {"step": event.step, f"{prefix}{tag}": float(event.value)}, "TensorBoard"
