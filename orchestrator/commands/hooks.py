"""Words to somebody who is away: a command or a web address that hears how a run goes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
import time
import urllib.request
from http.client import HTTPException
from typing import Self

from landsweep.orchestrator.redaction import redacted_notifier
from landsweep.orchestrator.run.progress import Companion, Snapshot, Watch
from landsweep.orchestrator.site import Site

__all__ = ["Notifier"]

_PATIENCE = 15.0  # s for a command or an answer
_LEAST_WAIT = 0.1  # s until the next look for a standstill
_WEB = ("http://", "https://")


class Notifier(Companion):
    """A watch of a run that also tells the command or the address under `site.notify` what matters.

    It is told once each: `failures`, when the first unit of this run fails; `stalled`, when no unit has ended for
    `site.stall_seconds`; and the end: `done`, `stopped`, or `failed` where the run raised.

    Args:
        watch: is shown all that this one is.
        site: names the command or the address.
        name: of the sweep.
        where: its results folder, a path or URL.
    """

    def __init__(self, watch: Watch, site: Site, name: str, where: str) -> None:
        super().__init__(watch)
        self._target, self._stall = site.notify, site.stall_seconds
        self._facts = {"sweep": name, "results": where}
        self._sent: set[str] = set()
        self._sending = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._problems: list[str] = []
        self._last: Snapshot | None = None
        self._new, self._moved = 0, time.monotonic()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if self._target is not None:  # a thread, because the local executor leaves nobody time while a unit runs
            threading.Thread(target=self._look_for_standstill, daemon=True).start()
        return self

    def look(self, snapshot: Snapshot) -> None:
        """Send what is new."""
        if self._target is None:
            return
        if self._last is None or snapshot.new != self._new or snapshot.phase != "running":
            self._new, self._moved = snapshot.new, time.monotonic()
        self._last = snapshot
        if snapshot.new_failed:
            self._notify("failures")
        while self._problems:
            self._watch.say(self._problems.pop())

    def end(self, how: str) -> None:
        """Send how the run has ended, and wait for whatever is under way."""
        self._over.set()
        if self._target is None or self._sent & {"done", "stopped", "failed"}:
            return
        self._notify(how)
        for thread in self._threads:
            thread.join(_PATIENCE)
        while self._problems:
            self._watch.say(self._problems.pop())

    def _look_for_standstill(self) -> None:
        wait = self._stall
        while not self._over.wait(min(max(wait, _LEAST_WAIT), threading.TIMEOUT_MAX)):
            runs = self._last is not None and self._last.phase == "running"
            wait = self._stall - (time.monotonic() - self._moved) if runs else self._stall
            if wait <= 0:
                self._notify("stalled")
                return

    def _notify(self, event: str) -> None:
        with self._sending:
            if event in self._sent:
                return
            self._sent.add(event)
            facts = dict(self._facts, event=event, **({} if self._last is None else _numbers(self._last)))
            thread = threading.Thread(target=self._send, args=(facts,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _send(self, facts: dict[str, object]) -> None:
        target = str(self._target)
        try:
            if target.startswith(_WEB):
                body = json.dumps({**facts, "text": _text(facts)}).encode()
                request = urllib.request.Request(target, body, {"Content-Type": "application/json"})
                urllib.request.urlopen(request, timeout=_PATIENCE).close()
            else:
                known = {name: value for name, value in facts.items() if value is not None}
                variables = {f"LANDSWEEP_{name.upper()}": str(value) for name, value in known.items()}
                words = [*shlex.split(target), _text(facts)]
                subprocess.run(
                    words, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, capture_output=True,
                    timeout=_PATIENCE, check=True,
                )  # fmt: skip
        except (OSError, ValueError, HTTPException, subprocess.SubprocessError) as e:
            self._problems.append(
                f"site.notify: {redacted_notifier(target)} was not told of {facts['event']!r}: {_why(e)}"
            )


def _numbers(snapshot: Snapshot) -> dict[str, object]:
    failed = snapshot.counts.get("failed", 0)
    return {"done": snapshot.done, "total": snapshot.total, "failed_units": failed, "seconds": round(snapshot.seconds)}


def _text(facts: dict[str, object]) -> str:
    total = "?" if facts.get("total") is None else f"{facts['total']:,}"
    units = f", {facts['done']:,} of {total} units, {facts['failed_units']:,} failed" if "done" in facts else ""
    return f"landsweep {facts['sweep']}: {facts['event']}{units} ({facts['results']})"


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        last = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return f"it ended with {error.returncode}" + (f" ({redacted_notifier(last[-1])[:200]})" if last else "")
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no end within {_PATIENCE:g} s"
    return f"{type(error).__name__}: {redacted_notifier(str(error))[:200]}"
