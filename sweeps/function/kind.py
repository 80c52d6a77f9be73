"""The function kind: any Python callable, swept over any axes.

The callable gets the unit's params, the arguments under `fixed` and, if asked for, a seed and the result of a set-up
function, all by keyword. What it gives back becomes the row:

- a dict: column name to number, flag, text or None; NumPy scalars are converted;
- the key `status` with the value `diverged` marks the unit as diverged, `error` then says why. A raised
  `FloatingPointError` does the same. A value that is nan or inf does not: it is stored as it is;
- a generator yields such dicts while it runs: their numbers become the unit's series, under the key `step` if there is
  one, else under 0, 1, 2, .... What it returns is the row; if it returns nothing, what it yielded last is;
- anything else, and any exception, makes a failed row, whose traceback begins in the callable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.spec import IsLabel
from landsweep.sweeps.lab.callables.calls import (
    call_setup,
    check_arguments,
    check_defaults,
    check_setup,
    imported,
)
from landsweep.sweeps.lab.callables.session import CallableSession
from landsweep.sweeps.lab.callables.swept import SweptKind, SweptSpec

__all__ = ["FunctionKind", "FunctionSpec"]

_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class FunctionSpec(SweptSpec):
    """A callable and the axes it is swept over."""

    takes_defaults: ClassVar[bool] = True

    kind: Annotated[Literal["function"], IsLabel()] = Field("function", description="this kind")
    function: str = Field(pattern=_PATH, description="the callable: package.module:function")
    setup: str | None = Field(
        None,
        pattern=_PATH,
        description="a callable that runs once per worker; its result is passed as `setup`. "
        "It may take the arguments device, threads and folder",
    )
    fixed: dict[str, Any] = Field(default_factory=dict, description="further arguments, equal for all units")
    seed_argument: str | None = Field(
        None, description="the argument that gets a seed drawn from the unit's params: 0 <= seed < 2**63"
    )
    deterministic: Annotated[bool, IsLabel()] = Field(
        True,
        description="whether a unit gives the same metrics every time; the first one is then run twice, "
        "unless it takes longer than `site.probe_seconds`",
    )

    @model_validator(mode="after")
    def _names_are_free(self) -> FunctionSpec:
        if both := sorted({*self.swept} & self.fixed.keys()):
            raise ValueError(
                f"{both} stand under axes or samples and under fixed; an argument can have one source only"
            )
        injected = {"setup"} if self.setup else set()
        if self.seed_argument is not None:
            injected.add(self.seed_argument)
        if self.seed_argument is not None and "seed" in self.defaults():
            raise ValueError(
                f"axes.seed: default: {self.seed_argument} is drawn from the seed where there is one, so that units "
                "with and without it differ; leave default out"
            )
        if taken := sorted(injected & {*self.swept, *self.fixed}):
            raise ValueError(f"{taken} are given by setup or seed_argument, so they can't be swept or fixed")
        return self

    def arguments(self) -> list[str]:
        """Names of all arguments that the callable is given."""
        extra = [self.seed_argument] if self.seed_argument else []
        return [*self.swept, *self.fixed, *extra, *(["setup"] if self.setup else [])]


class FunctionKind(SweptKind[FunctionSpec]):
    """Any Python callable over any axes."""

    name = "function"
    summary = "any Python callable `package.module:function`, swept over any axes"
    spec = FunctionSpec
    hint_not_deterministic = (
        "the function draws random numbers without a seed (name its seed under `seed_argument`), reads the clock, "
        "or keeps state between calls; if that is meant, set `deterministic: false`"
    )

    def example(self) -> FunctionSpec:
        return FunctionSpec.model_validate(
            {
                "name": "function-example",
                "function": "landsweep.sweeps.function.examples:descend",
                "fixed": {"function": "himmelblau", "steps": 200},
                "axes": {"start": {"range": 8}, "lr": [0.001, 0.01]},
            }
        )

    def deterministic(self, spec: FunctionSpec) -> bool:
        return spec.deterministic

    def light(self, spec: FunctionSpec) -> bool:
        del spec
        return True

    def in_words(self, spec: FunctionSpec) -> list[str]:
        first = f"{spec.setup} is called once per worker. " if spec.setup else ""
        return [f"{first}Each unit calls {spec.function}({', '.join(spec.arguments())})."]

    def check(self, spec: FunctionSpec, bench: Workbench) -> None:
        """Import the callables and compare their arguments with those of the spec.

        Raises:
            SpecError: a callable can't be imported, does not take what it would be given, or has another default than
                an axis says.
        """
        function = imported("function", spec.function, bench.folder)
        check_arguments(function, spec.function, spec.arguments())
        check_defaults(function, spec.function, {name: spec.axes[name].default for name in spec.defaults()})
        if spec.setup is not None:
            check_setup(imported("setup", spec.setup, bench.folder), spec.setup)

    def open(self, spec: FunctionSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> CallableSession:
        del prepared
        function = import_callable(spec.function, bench.folder)
        fixed = dict(spec.fixed)
        if spec.setup is not None:
            fixed["setup"] = call_setup(import_callable(spec.setup, bench.folder), bench)
        return CallableSession(function, fixed, spec.seed_argument, spec.types, bench, spec.objects())
