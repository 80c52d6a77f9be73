"""The command kind: any program, unchanged, swept over any axes.

The program is started once for each unit, with the unit's params in its command line. Its metrics come from lines of
JSON that it writes, from what it prints, or from files that it leaves. Exit code 0 and metrics make a row that is ok;
the metric `status` with the value `diverged` marks the unit as diverged; anything else is a failed row, which shows the
end of what was printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.spec import IsLabel
from landsweep.sweeps.lab.callables.swept import SweptKind, SweptSpec
from landsweep.sweeps.lab.programs.attempt import Wanted
from landsweep.sweeps.lab.programs.checks import check_program
from landsweep.sweeps.lab.programs.session import ProgramSession
from landsweep.sweeps.lab.programs.spec import Program

__all__ = ["CommandKind", "CommandSpec"]

_METERS = ("seconds", "cpu_seconds", "peak_memory")  # that a row has without the program


class CommandSpec(SweptSpec):
    """A program and the axes it is swept over."""

    kind: Annotated[Literal["command"], IsLabel()] = Field("command", description="this kind")
    command: Program = Field(
        description="the program: its command line as a list, such as [python, train.py, --lr, '{lr}'], or a section "
        "with `run`, `env`, `cwd`, `metrics`, `timeout`, `grace` and `keep`"
    )
    deterministic: Annotated[bool, IsLabel()] = Field(
        False,
        description="whether a unit gives the same metrics every time; the first one is then run twice, the second "
        "time in a folder of its own, unless it takes longer than `site.probe_seconds`",
    )

    @model_validator(mode="after")
    def _names_fit(self) -> CommandSpec:
        if (complaint := self.command.complaint(self.swept)) is not None:
            raise ValueError(f"command: {complaint}")
        if missing := self.command.missing(self.swept):
            raise ValueError(f"command: {{{missing[0]}}} is neither an axis nor drawn")
        if defaults := list(self.defaults()):
            raise ValueError(
                f"axes.{defaults[0]}: default: what a program does without a value can't be known, so existing rows "
                "can't be taken over; leave it out"
            )
        return self

    def context(self) -> dict[str, Any]:
        """All that the rows depend on; not how long the program may take, or where it is."""
        return {**super().context(), "command": self.command.identity()}


class CommandKind(SweptKind[CommandSpec]):
    """Any program over any axes."""

    name = "command"
    summary = "any program, unchanged: a command line with {placeholders}, swept over any axes"
    spec = CommandSpec
    hint_not_deterministic = (
        "the program draws random numbers without a seed (give it {seed}), reads the clock, or runs in parallel; if "
        "that is meant, leave out `deterministic`"
    )

    def example(self) -> CommandSpec:
        program = "import sys; x, y = map(float, sys.argv[1:]); print(f'value={(x - 1) ** 2 + y * y!r}')"
        return CommandSpec.model_validate(
            {
                "name": "command-example",
                "command": {
                    "run": ["{python}", "-I", "-S", "-c", program.replace("{", "{{").replace("}", "}}"), "{x}", "{y}"],
                    "metrics": {"pattern": r"value=(?P<value>\S+)"},
                },
                "axes": {"x": [0, 1, 2], "y": [0, 0.5]},
                "deterministic": True,
            }
        )

    def deterministic(self, spec: CommandSpec) -> bool:
        return spec.deterministic

    def light(self, spec: CommandSpec) -> bool:
        del spec
        return True

    def in_words(self, spec: CommandSpec) -> list[str]:
        words = [word if isinstance(word, str) else f"[{' '.join(word)}]" for word in spec.command.run]
        return [f"Each unit starts the program: {' '.join(words)}"]

    def check(self, spec: CommandSpec, bench: Workbench) -> None:
        """Look for the program, its folder and its script.

        Raises:
            SpecError: one of them is not there.
        """
        check_program(spec.command, bench.folder)

    def open(self, spec: CommandSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> ProgramSession:
        del prepared
        goals = tuple(metric for metric in (spec.goal or {}).values() if metric not in _METERS)
        return ProgramSession(spec.command, spec.types, bench, Wanted(goals))
