"""Programs of a user's, in a folder of their own, and the sweeps that start them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Outcome, Progress, RowMaker
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.sweeps.command.kind import CommandKind, CommandSpec

KIND = CommandKind()
REPORT = (
    "import json, os\ndef report(**m):\n    open(os.environ['LANDSWEEP_METRICS'], 'a').write(json.dumps(m) + '\\n')\n"
)


class Programs:
    """Scripts in a folder, and results beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self._names = count()

    def spec(self, source: str, *words: str, axes: Any = None, **fields: Any) -> CommandSpec:
        """A spec that starts a new script with this source; `report(**metrics)` is defined in it."""
        name = f"script{next(self._names)}.py"
        (self.folder / name).write_text(REPORT + textwrap.dedent(source), encoding="utf-8")
        command = {"run": ["{python}", "-I", "-S", name, *(words or ("{x}",))], "grace": 5, **fields.pop("command", {})}
        return parse(CommandSpec, {"name": "t", "command": command, "axes": axes or {"x": [1]}, **fields}, "test")

    def bench(self, **given: Any) -> Workbench:
        self.results.mkdir(exist_ok=True)
        return Workbench(folder=self.folder, artifacts=Artifacts(str(self.results)), **given)

    def run(self, spec: CommandSpec, **bench: Any) -> tuple[list[Outcome], list[Progress]]:
        """All units of a spec, by a session of its own."""
        lent = self.bench(**bench)
        KIND.check(spec, lent)
        units = KIND.planner(spec).ask(1000)
        given = list(KIND.open(spec, {}, lent).evaluate(units))
        outcomes = [g for g in given if isinstance(g, Outcome)]
        assert [o.key for o in outcomes] == [u.key for u in units], "one outcome for each unit, in order"
        maker = RowMaker(KIND.params(spec), KIND.columns(spec))
        assert all(maker.undeclared(o) is None for o in outcomes)
        return outcomes, [g for g in given if isinstance(g, Progress)]

    def one(self, spec: CommandSpec, **bench: Any) -> Outcome:
        (outcome,), _ = self.run(spec, **bench)
        return outcome

    def refused(self, make: Callable[[], CommandSpec]) -> str:
        """What a spec is refused with, when it is read or checked."""
        try:
            KIND.check(make(), Workbench(folder=self.folder))
        except SpecError as e:
            return str(e)
        raise AssertionError("it was not refused")

    def file(self, outcome: Outcome, name: str) -> Path:
        """A file in the folder of a unit."""
        return self.results / "units" / outcome.key / name


def gone(pids: Sequence[int], seconds: float = 60) -> bool:
    """Whether processes have ended, or end within some time."""
    left = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue
        if process.status() != psutil.STATUS_ZOMBIE:
            left.append(process)
    _, alive = psutil.wait_procs(left, timeout=seconds)
    return not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
