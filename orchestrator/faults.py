"""What went wrong in a unit, as its row keeps it: a cause and a text, neither longer than a table can bear."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping
from types import TracebackType

from landsweep.orchestrator.accelerators import out_of_memory
from landsweep.orchestrator.errors import GangBroken, StorageError, Unreachable
from landsweep.orchestrator.redaction import redacted_error
from landsweep.orchestrator.row import Cause, Metric
from landsweep.orchestrator.text import shortened

__all__ = ["MOST_METRICS", "MOST_POINTS", "cause_of", "oversized", "text_of", "without_middle"]

LONGEST_ERROR = 20_000  # characters
_LOOKED_THROUGH = 400_000  # characters of an error in which credentials are looked for before it is cut
LONGEST_TEXT = 100_000  # characters of a text metric: reports and MLflow hold each of them in memory
LONGEST_NAME = 1_000  # characters of a metric's name
MOST_GROUPED = 10_000  # errors inside of one error
MOST_POINTS = 1_000_000  # of the series of one unit: metrics times steps
MOST_METRICS = 10_000  # of one unit; each is a column of the sweep's table


def cause_of(error: BaseException) -> Cause:
    """`infra` where the results can't be reached, or a gang has lost a member; `oom` also for accelerators."""
    if isinstance(error, StorageError | Unreachable | GangBroken):
        return Cause.infra
    return Cause.oom if out_of_memory(error) else Cause.error


def text_of(error: BaseException, trace: TracebackType | None) -> str:
    """The traceback from the frame `trace` on, shortened.

    Args:
        error: what was raised.
        trace: of the first frame that is shown.
    """
    try:
        if _many(error):
            left_out = f"More than {MOST_GROUPED:,} errors inside of it are left out."
            text = "".join(traceback.format_tb(trace)) + f"{type(error).__name__}: {error}\n{left_out}\n"
        else:
            text = "".join(traceback.format_exception(type(error), error, trace))
        if isinstance(error, ValueError) and "main thread" in str(error) and not _in_main_thread():
            text += (
                "Workers of Ray compute in a thread of their own, so a unit can't set signal handlers there. "
                "Leave that out when threading.current_thread() is not threading.main_thread(), do it in a process "
                "that the unit starts, or compute with site.executor=local.\n"
            )
    except Exception as e:  # noqa: BLE001 - an error whose own text raises must not take the shard with it
        text = f"{type(error).__name__} (its text can't be shown: {type(e).__name__})"
    return without_middle(text.encode("utf-8", "backslashreplace").decode())  # names of files need not be UTF-8


def _many(error: BaseException) -> bool:
    """Whether an error holds more others than can be gone through; one in several groups counts once for each."""
    count, waiting, seen = 0, [error], set[int]()
    while waiting:
        one = waiting.pop()
        count += 1
        if count > MOST_GROUPED:
            return True
        seen.add(id(one))
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += [e for e in (one.__cause__, one.__context__) if e is not None and id(e) not in seen]
    return False


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def without_middle(text: str, longest: int = LONGEST_ERROR) -> str:
    r"""An error's text with its middle left out where it is too long: most of what is kept is its end, which says most.

    Credentials are removed first, because a cut could part them from their names.

    Example:
        >>> without_middle("abcdefghij", 4)
        'a\n... 6 characters left out ...\nhij'
    """
    if len(text) <= longest:
        return text
    left_out = len(text) - longest
    half = _LOOKED_THROUGH // 2
    text = redacted_error(text if len(text) <= _LOOKED_THROUGH else f"{text[:half]}\n{text[-half:]}")
    if len(text) <= longest:
        return text
    head = longest // 4
    return f"{text[:head]}\n... {left_out:,} characters left out ...\n{text[head - longest :]}"


def oversized(metrics: Mapping[str, Metric]) -> str | None:
    """Complaint about metrics that are too many or too long for a table, or None."""
    if len(metrics) > MOST_METRICS:
        return (
            f"the unit gave {len(metrics):,} metrics; at most {MOST_METRICS:,} fit into one row. Give a summary, yield "
            "them step by step as a series, or write them to a file of your own"
        )
    for name, value in metrics.items():
        if type(value) is str and len(value) > LONGEST_TEXT:
            return (
                f"the metric {shortened(str(name), LONGEST_NAME)} is a text of {len(value):,} characters; at most "
                f"{LONGEST_TEXT:,} fit into a row. Write it to a file of your own and give its path"
            )
        if type(name) is str and len(name) > LONGEST_NAME:
            return (
                f"a metric's name has {len(name):,} characters ({name[:40]}...); at most {LONGEST_NAME:,} are allowed"
            )
    return None
