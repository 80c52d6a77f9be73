"""A sweep on disk: its spec read back, its plan, its rows in the plan's order."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.assignments import override
from landsweep.orchestrator.bases import layers_of, merged
from landsweep.orchestrator.errors import LandsweepError, SpecError, SweepMismatch, UsageError
from landsweep.orchestrator.kind import Auditable, SweepKind, Workbench, kind_named
from landsweep.orchestrator.notes import is_own
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.run.manifest import check_same, new_manifest, read_manifest
from landsweep.orchestrator.run.new_axes import with_defaults
from landsweep.orchestrator.run.plan import planned, resumed, wanted_files
from landsweep.orchestrator.run.stage_list import read_stage_list
from landsweep.orchestrator.spec import DEFAULTS, Spec
from landsweep.orchestrator.spec_files import spec_folder
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.ledger import Findings, Ledger, Store
from landsweep.orchestrator.storage.ledger.parts import COLUMNS
from landsweep.orchestrator.text import one_line
from landsweep.orchestrator.trust import reading, refuse_files, start_reading, user_code

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Sweep",
    "as_frame",
    "begin_sweep",
    "changed_fields",
    "ledger_at",
    "load_spec",
    "open_sweep",
    "refuse_damaged",
    "spec_from",
    "stored_rows",
]

_ASKED = 4096
_EARLY = ("kind=", "base=")  # changes that decide what the others mean


def load_spec(path: Path, assignments: Sequence[str] = ()) -> tuple[SweepKind[Any], Spec]:
    """The spec in a YAML file, with `field=value` changes, and its kind; files that it names are pinned by digest.

    Raises:
        SpecError: unreadable, of no known kind, or with fields that are unknown, missing, of the wrong type, or
            that do not fit each other.
    """
    return spec_from(read_yaml(path), assignments, str(path), spec_folder(path), path.stem)


def spec_from(
    written: Mapping[str, Any], assignments: Sequence[str], source: str, folder: Path, name: str = ""
) -> tuple[SweepKind[Any], Spec]:
    """The spec with these fields, and its kind.

    Args:
        written: fields, as in a spec file.
        assignments: `field=value` changes.
        source: what to call them in a message.
        folder: what paths in them are relative to.
        name: of the sweep, if they give none.

    Raises:
        SpecError: as `load_spec`.
    """
    kind, data = changed_fields(written, assignments, source, folder)
    data.setdefault("name", name)
    spec = kind.parse(data, source)
    pinned = spec.pinned(folder)
    if not spec.settled():
        kind.check_claims(pinned)
    return kind, pinned


def changed_fields(
    written: Mapping[str, Any], assignments: Sequence[str], source: str, folder: Path
) -> tuple[SweepKind[Any], dict[str, Any]]:
    """The kind that fields of a spec name, and the fields, built on their base and changed; nothing is checked yet.

    The arguments are those of `spec_from`.

    Raises:
        SpecError: they name no known kind, or a change can't be made.
    """
    layers = layers_of(override(written, [a for a in assignments if a.startswith(_EARLY)]), source, folder)
    kinds = [str(layer.fields["kind"]) for layer in layers if "kind" in layer.fields]
    if not kinds and "stages" in written:
        raise SpecError(
            f"{source}: is a spec in stages, which `landsweep run`, `plan` and `submit` take, and `run_stages` in "
            "Python; give the spec of one sweep"
        )
    if not kinds:
        raise SpecError(f"{source}: kind: missing; say which kind of sweep this is (see `landsweep kinds`)")
    kind = kind_named(kinds[-1])
    changes = [a for a in assignments if not a.startswith(_EARLY)]
    return kind, override(merged(layers, kind.spec), changes, kind.spec)


def ledger_at(where: str | Path) -> Ledger:
    """The ledger in a results folder, a path or URL; much quicker than a `Sweep`, for readers that need no kind.

    Raises:
        SpecError: there is none.
    """
    store = Store.at(where)
    if store.path is not None and not store.path.is_dir():
        raise SpecError(f"there is no folder {where}; give the results folder of a sweep, such as results/NAME")
    if not Ledger.exists(store):
        if (staged := read_stage_list(store)) is not None:
            folders = ", ".join(f"{store.where}/{name}" for name in staged["stages"])
            raise SpecError(f"{where} holds the stages of {one_line(staged['name'])}; give one of them: {folders}")
        raise SpecError(f"{where} holds no sweep (no sweep.json); give a folder that `landsweep run` has made")
    return Ledger.open(store)


class Sweep:
    """One sweep: kind, spec and ledger, opened from its results directory.

    Args:
        ledger: of the directory.
        trust: code that its `sweep.json` names may run; None: none may, even of a sweep of this user.

    Attributes:
        trusted: whether it may: `trust`, or the sweep is one that this user has run in this place.

    Raises:
        UsageError: its `sweep.json` lacks what a sweep has.
        SpecError: it was made by another version and its spec can't be read any more.
    """

    def __init__(self, ledger: Ledger, *, trust: bool | None = False) -> None:
        self.ledger = ledger
        self.manifest: Mapping[str, Any] = read_manifest(ledger.sweep, f"{ledger.store.where}/sweep.json")
        self.trusted = trust is not None and (trust or is_own(ledger.store.where, ledger.sweep))
        self.kind = kind_named(self.manifest["kind"])
        with self._reading():
            self.spec: Spec = _spec(self.kind, self.manifest["spec"], f"{ledger.store.where}/sweep.json")
        self.folder = Path(self.manifest["folder"])

    @classmethod
    def at(cls, where: str | Path, *, trust: bool = False) -> Self:
        """The sweep in a results folder, a path or URL.

        Raises:
            SpecError: there is none.
        """
        return cls(ledger_at(where), trust=trust)

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.ledger.store.where, trusted=self.trusted)

    def keys(self) -> list[str]:
        """Keys of all units of the plan, in order; where the plan depends on the rows, theirs and what comes next."""
        with self._reading():
            return self._keys()

    def _keys(self) -> list[str]:
        if not self.kind.planner(self.spec).adaptive:
            return [u.key for u in planned(self.kind, self.spec)]
        have = self.ledger.rows(["key"]).column("key").to_pylist()
        return list(dict.fromkeys([*have, *(u.key for u in self.planner().ask(_ASKED))]))

    def planner(self) -> Planner:
        """The sweep's planner, after it was told all that the ledger holds."""
        with self._reading():
            return resumed(self.kind.planner(self.spec), self.ledger)

    def verify(self, *, deep: bool = False) -> Findings:
        """What is wrong with the sweep's files.

        Args:
            deep: compare all bytes of the files that rows name, and of states to go on from, with their checksums.
        """
        with self._reading():
            columns, prepared = self.kind.columns(self.spec) or (), wanted_files(self.kind, self.spec)
        return self.ledger.verify(self.keys(), columns, prepared, deep=deep)

    def audit(self, n: int, damaged: Collection[str] = ()) -> list[str]:
        """Compute results again from the files of units; returns a line for each that disagrees with its row.

        Args:
            n: how many, at most.
            damaged: keys of units that are left out: their files are known to be damaged.

        Raises:
            SpecError: units of this kind store no such files.
            Untrusted: the sweep is not the user's own, and its spec names files outside of its folder.
        """
        if not self.trusted:
            refuse_files(self.manifest["spec"], self.folder, self.ledger.store.where)
        if not isinstance(self.kind, Auditable):
            raise SpecError(f"--reevaluate: units of the kind {self.kind.name} store nothing to recompute results from")
        bench = Workbench(folder=self.folder, artifacts=Artifacts(self.ledger.store.where), trust=self.trusted)
        rows = self.rows()
        return self.kind.audit(self.spec, rows[~rows["key"].isin(damaged)], bench, n)

    def stored(self) -> pa.Table:
        """All rows, also of units that are not in the plan; rows that lack an added axis have its default."""
        table, defaults = self.ledger.rows(), self.spec.defaults()
        if not defaults:
            return table
        keys = self.keys()
        with self._reading():
            return with_defaults(table, self.kind.params(self.spec), defaults, keys)

    def rows(self) -> pd.DataFrame:
        """Rows of the units that belong to the plan, in the plan's order."""
        table = self.stored()
        frame, order = as_frame(table), self._order(table)
        return frame if order is None else frame.iloc[order.to_numpy()].reset_index(drop=True)

    def table(self) -> pa.Table:
        """The same rows, of the types in which they are stored."""
        table = self.stored()
        order = self._order(table)
        return table if order is None else table.take(order)

    def _order(self, table: pa.Table) -> pa.Array | None:
        """Which rows of a table belong to the plan, in its order; None: all of them, as they stand."""
        with self._reading():
            if self.kind.planner(self.spec).adaptive:
                return None  # the plan depends on the rows, so all of them belong to it
            units, parts = planned(self.kind, self.spec), []
            while part := [unit.key for unit in islice(units, _ASKED)]:
                parts.append(pa.array(part, pa.string()))
        keys = pa.chunked_array(parts, pa.string())
        if table.column("key").equals(keys):
            return None
        places = pc.index_in(table.column("key"), keys.combine_chunks()).combine_chunks()
        in_plan = pc.indices_nonzero(pc.is_valid(places))
        return in_plan.take(pc.sort_indices(places.take(in_plan)))

    def series(self) -> pd.DataFrame:
        """All series: key, step, metric, value."""
        frame: pd.DataFrame = self.ledger.series().to_pandas()
        return frame


def open_sweep(where: str, *, trust: bool = False) -> Sweep:
    """A sweep to work on. Its code may run from now on, if it is the user's own or trusted."""
    start_reading(where)
    sweep = Sweep.at(where, trust=trust)
    if sweep.trusted:
        user_code()
    return sweep


def stored_rows(ledger: Ledger, *, trust: bool | None) -> pa.Table:
    """All rows of a ledger; rows that lack an added axis have its default. Only then is the kind loaded.

    Args:
        ledger: of the sweep.
        trust: as for `Sweep`.
    """
    definitions = ledger.sweep.get("definitions")
    added = isinstance(definitions, dict) and bool(definitions.get(DEFAULTS))
    return Sweep(ledger, trust=trust).stored() if added else ledger.rows()


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A table for pandas. There, whole numbers beside nulls become floats, unless floats would round them."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_integer(field.type) and frame[field.name].dtype.kind == "f":
            column = table.column(field.name)
            if max(abs(v.as_py() or 0) for v in pc.min_max(column).values()) >= 2**53:
                frame[field.name] = pd.array(column.to_pylist(), dtype="Int64")
    return frame


def refuse_damaged(ledger: Ledger) -> None:
    """Refuse a ledger whose last read left out parts; for readers that would not notice.

    Raises:
        UsageError: names a part that was changed, is of another sweep, or can't be read.
    """
    for damage in ledger.damaged:
        if damage.path.endswith(".parquet") and damage.path != COLUMNS:
            where = ledger.store.where
            raise UsageError(
                f"{where}/{damage}. `landsweep rerun {shlex.quote(where)} --status damaged` sets "
                "it aside and computes its units again; to read the others alone, move the file away"
            )


def begin_sweep(store: Store, kind: SweepKind[Any], spec: Spec, folder: Path) -> Ledger:
    """A new sweep, or the one that another driver has just begun here: the lock then decides which driver runs.

    Raises:
        SweepMismatch: the other one has another spec.
        StorageError: it can't be written.
    """
    try:
        return Ledger.create(store, new_manifest(kind, spec, folder))
    except SweepMismatch:
        ledger = Ledger.open(store)
        check_same(ledger.sweep, kind, spec, store.where)
        return ledger


def _spec(kind: SweepKind[Any], fields: Mapping[str, Any], source: str) -> Spec:
    """The spec of a sweep on disk; whatever its fields are, an error says that they can't be read."""
    try:
        spec: Spec = kind.parse(fields, source)
    except LandsweepError:
        raise
    except Exception as e:  # a validator of the kind was given what no spec file can hold
        raise SpecError(f"{source}: its spec can't be read: {type(e).__name__}: {e}") from e
    return spec
