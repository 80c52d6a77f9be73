"""Kinds: families of sweeps. A kind is one class in one file and one entry point in the group `landsweep.kinds`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.report.parts import Report, Table
from landsweep.orchestrator.row import METERS, Column, Outcome, Progress
from landsweep.orchestrator.spec import Spec, parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.summaries import GROUP
from landsweep.orchestrator.unit import Unit, digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Arrays",
    "Auditable",
    "Costed",
    "Costs",
    "Gang",
    "Ganged",
    "Preparation",
    "Ranked",
    "SavesMemory",
    "Session",
    "ShowsTensors",
    "SweepKind",
    "Workbench",
    "kind_named",
    "kinds",
]

Arrays: TypeAlias = Mapping[str, "np.ndarray[Any, Any]"]
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Gang:
    """A worker's place among the processes that compute one unit together; see docs/training.md.

    Attributes:
        rank: from 0; the first one evaluates units, the others assist it.
        size: how many they are.
        host: address of rank 0, to which the others connect.
        port: TCP port there.
        timeout: give up waiting for another member after this long, s.
        secret: known to the members alone; it signs their messages to each other.
        listener: for rank 0, descriptor of a socket that already listens there, so no other process can take the port.
    """

    rank: int
    size: int
    host: str
    port: int
    timeout: float
    secret: bytes = field(repr=False)
    listener: int = -1


@dataclass(frozen=True, slots=True)
class Workbench:
    """What a worker lends to a kind.

    Attributes:
        device: `cpu`, or `cuda:0` when this worker was given a GPU or a share of one.
        threads: how many threads this worker may use.
        folder: what relative paths in the spec are relative to.
        artifacts: where units store weights and the states that they resume from; None without a results folder.
        stopped: whether the unit with this key should end early, because it was pruned or cancelled.
        state_seconds: how often a long unit should store a state to resume from, s.
        states_kept: how many of the latest states it should keep.
        trust: whether code that the results name may run; that of a user's own spec always may.
        gpus: how many GPUs this worker has, or which share of one.
        peak_flops: operations per second that its device can reach, where the site states them.
        mfu: share of them that trainings reach, where the site states it.
        gang: the worker's place among several that compute a unit together; None: it computes alone.
        shortcuts: whether numbers may differ in rounding from the reference, where that is faster.
    """

    device: str = "cpu"
    threads: int = 1
    folder: Path = field(default_factory=Path)
    artifacts: Artifacts | None = None
    stopped: Callable[[str], bool] = lambda key: False
    state_seconds: float = 60.0
    states_kept: int = 1
    trust: bool = False
    gpus: float = 0.0
    peak_flops: float | None = None
    mfu: float | None = None
    gang: Gang | None = None
    shortcuts: bool = False

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices of this worker, the first of which is `device`."""
        if self.gpus <= 1:
            return (self.device,)
        kind = self.device.partition(":")[0]
        return tuple(f"{kind}:{i}" for i in range(int(self.gpus)))


@dataclass(frozen=True, slots=True)
class Preparation:
    """Arrays that units share and that are computed once per sweep: trained weights, directions.

    Attributes:
        name: unique in the sweep; also the name of the file in `prepared/`.
        inputs: all that the arrays depend on; other inputs make another file.
        needs: names of preparations that must be computed first.
        pack: the pack whose best size this preparation measures; empty for others. Its array `size` [1] says how many
            units are best computed at once, and the schedule cuts shards accordingly.

    If there is an array `note`, it is UTF-8 text that is shown to the user when the preparation has been computed.
    """

    name: str
    inputs: object
    needs: tuple[str, ...] = ()
    pack: str = ""

    @property
    def file(self) -> str:
        """Name of the file that keeps the arrays."""
        return f"{self.name}-{digest(self.inputs, size=4)}.safetensors"


@dataclass(frozen=True, slots=True)
class Costs:
    """What units without a row will cost.

    Attributes:
        table: a line for each group of similar units.
        seconds: for all of them on one worker; None if they can't be timed on this machine.
        note: how they were timed, or why they were not.
    """

    table: Table
    seconds: float | None
    note: str


class Session(Protocol):
    """An opened kind on one worker: data loaded, model built."""

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """Yield one outcome for each unit, as soon as it ends; progress may come before.

        Results are sent when the next item comes. So that none waits long, sessions of long units yield None now and
        then. An exception ends the shard: the worker then gives each unit that has no outcome yet a call of its own, so
        that one bad unit fails alone.
        """
        ...


@runtime_checkable
class SavesMemory(Protocol):
    """A session that can use less memory."""

    def save_memory(self) -> bool:
        """Use less memory from now on, because it ran out; False if that is impossible.

        It is called when the failed computation has been freed. The worker then gives the session all unfinished units
        again; after False each of them alone, and a unit that was alone fails.
        """
        ...


class SweepKind(ABC, Generic[S]):
    """A family of sweeps. All methods are pure except `check`, `prepare` and `open`, which run on workers.

    Abilities that only some kinds have are classes of their own, to inherit beside this one: `Auditable`, `Costed`,
    `Ganged`, `Ranked`, `ShowsTensors`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raise it when the same spec gives other rows
    summary: ClassVar[str]  # one sentence for `landsweep kinds`
    leaves_weights: ClassVar[bool] = False  # whether its units may store models that other sweeps can use
    spec: type[S]
    again: ClassVar[str] = ""  # a command that computes one unit again, with {folder} and {key}
    hint_not_deterministic: ClassVar[str] = "something in it draws random numbers without a seed, or reads the clock"

    @abstractmethod
    def example(self) -> S:
        """The smallest spec that still means something: seconds on one CPU."""

    @abstractmethod
    def params(self, spec: S) -> tuple[Column, ...]:
        """Columns of the units' params."""

    @abstractmethod
    def columns(self, spec: S) -> tuple[Column, ...] | None:
        """Every metric that a row can hold; None: whatever the units give."""

    @abstractmethod
    def planner(self, spec: S) -> Planner:
        """Decides the units."""

    @abstractmethod
    def open(self, spec: S, prepared: Mapping[str, Arrays], bench: Workbench) -> Session:
        """Once per worker: load data and model.

        Args:
            spec: the sweep's spec, validated.
            prepared: by preparation name, the arrays; shared between workers, so read-only.
            bench: device, threads and folder of this worker.
        """

    def validate(self, spec: S) -> None:
        """Refuse a spec whose fields do not fit each other, or that gives no plan; reads no files.

        Rules about single fields belong into the validators of the spec's class. Rules about several, such as whether
        every recipe of the sweep is valid, belong here: this runs wherever a spec is read, and again before a run.

        Raises:
            SpecError: begins with the field's path, and says what was given and what is allowed.
        """

    def parse(self, fields: Mapping[str, Any], source: str) -> S:
        """The spec with these fields, validated; not for kinds to override.

        Args:
            fields: as in a spec file, or in `sweep.json`.
            source: what to call it in a message.

        Raises:
            SpecError: one line for each thing that is wrong.
        """
        spec = parse(self.spec, fields, source)
        try:
            self.validate(spec)
            if spec.settled():
                self.check_claims(spec)
        except UsageError as e:
            complaint = str(e).replace("\n", "\n  ")
            raise SpecError(f"{source}:\n  - {complaint}") from e
        return spec

    def check_claims(self, spec: S) -> None:
        """Refuse claims about columns that rows will not have; not for kinds to override.

        Raises:
            UsageError: names the claim.
        """
        if not spec.claims or (columns := self.columns(spec)) is None:  # None: such rows may have any columns
            return
        from landsweep.orchestrator.report.verdicts import check_claims  # pandas, only where there are claims

        check_claims(spec.claims, (*self.params(spec), *columns, *METERS))

    def check(self, spec: S, bench: Workbench) -> None:
        """Raise `UsageError` for input that can't work; runs once, on a worker, before anything is written."""

    def light(self, spec: S) -> bool:
        """Whether `check` is so quick that every plan may run it."""
        del spec
        return False

    def in_words(self, spec: S) -> Sequence[str]:
        """What one unit does, a sentence or two; for `landsweep explain`."""
        del spec
        return ()

    def preparations(self, spec: S) -> tuple[Preparation, ...]:
        """What must be computed once before the first unit; each after those that it needs."""
        del spec
        return ()

    def prepare(self, spec: S, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        """Compute one preparation; `have` holds the arrays of those it needs."""
        raise LookupError(f"kind {self.name} has no preparation {name!r}")

    def deterministic(self, spec: S) -> bool:
        """Whether the same unit must give the same metrics twice; the first one that ends soon is then run twice."""
        del spec
        return True

    def report(self, spec: S, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        """Tables and figures, from rows and series alone.

        Args:
            spec: the sweep's spec, validated.
            rows: one line per unit that belongs to the spec's plan, in the plan's order.
            series: key, step, metric, value.
        """
        del spec, rows, series
        return Report(sections=())


class Auditable(ABC, Generic[S]):
    """A kind whose units store files from which their results can be computed again."""

    @abstractmethod
    def audit(self, spec: S, rows: pd.DataFrame, bench: Workbench, n: int) -> list[str]:
        """Compute a few results of a sweep again; for `landsweep verify --reevaluate`.

        Args:
            spec: the sweep's spec, validated.
            rows: one line per unit of the plan.
            bench: with the sweep's artifacts.
            n: how many units to look at, at most.

        Returns:
            What does not agree with the rows, a line each.
        """


class Costed(ABC, Generic[S]):
    """A kind that can time single steps of its units instead of whole ones."""

    @abstractmethod
    def costs(self, spec: S, done: Collection[str], bench: Workbench) -> Costs:
        """What the units of the plan will cost, from a calibration of a few seconds; for `landsweep plan`.

        Args:
            spec: the sweep's spec, validated.
            done: keys of units that have rows.
            bench: the machine that plans, standing for a worker.
        """


class Ganged(ABC, Generic[S]):
    """A kind with units that take several devices: as many workers compute each of them together, as a gang."""

    @abstractmethod
    def devices(self, spec: S, folder: Path) -> Callable[[Unit], int] | None:
        """A function that gives how many devices a unit takes; None: every unit takes one.

        Args:
            spec: the sweep's spec, validated.
            folder: what relative paths in the spec are relative to.
        """

    @abstractmethod
    def assist(self, spec: S, bench: Workbench) -> None:
        """Do this member's part of the units of a gang, until rank 0 has ended; called on all ranks but 0.

        Args:
            spec: the sweep's spec, validated.
            bench: with `gang`, and this member's own device.
        """


class Ranked(ABC, Generic[S]):
    """A kind some of whose units deserve a run of their own in the tracking store."""

    @abstractmethod
    def tracked(self, spec: S, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of these units, the best first.

        Args:
            spec: the sweep's spec, validated.
            rows: one line per unit; how many of them get a run of their own is decided elsewhere.
        """


class ShowsTensors(ABC, Generic[S]):
    """A kind of networks whose tensors can be looked at before a run."""

    @abstractmethod
    def tensors(self, spec: S, bench: Workbench) -> Sequence[Table]:
        """A table for each network of the plan: how each tensor is drawn and trained; for `landsweep plan --tensors`.

        Args:
            spec: the sweep's spec, validated.
            bench: with the folder that relative paths start from.

        Raises:
            SpecError: this spec has no such networks.
        """


def kinds() -> dict[str, SweepKind[Any]]:
    """All registered kinds by name, those of other packages too."""
    return {e.name: e.load()() for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def kind_named(name: str) -> SweepKind[Any]:
    """The registered kind of this name.

    Raises:
        SpecError: there is none.
    """
    registered = {e.name: e for e in entry_points(group=GROUP)}
    if name not in registered:
        raise SpecError(f"kind: there is no kind {name!r}; known kinds: {', '.join(sorted(registered))}")
    kind: SweepKind[Any] = registered[name].load()()
    return kind
