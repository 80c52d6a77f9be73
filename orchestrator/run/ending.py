"""An early end of a sweep: what the site says must happen first, looked for among the rows of this run."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.row import RowMaker, Status
from landsweep.orchestrator.site import EndWhen
from landsweep.orchestrator.spec import Spec

__all__ = ["Ending"]


class Ending:
    """Whether a run should end although units are left.

    Args:
        rules: of the site; empty ones never end a run.
        kind: of the sweep.
        spec: of the sweep; where it declares its columns, a rule must name one of them.

    Raises:
        UsageError: the rule about rows can't be read, or names a column that the rows will not have.
    """

    def __init__(self, rules: EndWhen, kind: SweepKind[Any], spec: Spec) -> None:
        self._rules = rules
        if rules.row is not None:
            from landsweep.orchestrator.rules import check_readable, chosen  # here: they bring pandas

            check_readable(rules.row)
            if (columns := kind.columns(spec)) is not None:
                chosen(rules.row, RowMaker(kind.params(spec), columns).schema().empty_table().to_pandas())
        self._began = time.monotonic()
        self._failed = 0
        self._met = ""

    def take(self, rows: pa.RecordBatch) -> None:
        """Look at new rows.

        Raises:
            UsageError: the rule can't be read, or names a column that these rows lack.
        """
        statuses = rows.column("status")
        self._failed += pc.sum(pc.equal(statuses, Status.failed.value)).as_py() or 0
        if self._rules.row is None or self._met:
            return
        ended_well = rows.filter(pc.equal(statuses, Status.ok.value))
        if ended_well.num_rows:
            from landsweep.orchestrator.rules import chosen  # here, too

            hits = chosen(self._rules.row, ended_well.to_pandas())
            self._met = str(ended_well.column("key")[int(hits.argmax())]) if hits.any() else ""

    def why(self) -> str:
        """Why the run ends now; empty while it goes on."""
        rules = self._rules
        if self._met:
            return f"unit {self._met} meets end_when.row, {rules.row!r}"
        if rules.failed is not None and self._failed >= rules.failed:
            return f"{self._failed:,} units failed in this run, and end_when.failed is {rules.failed:,}"
        if rules.seconds is not None and time.monotonic() - self._began >= rules.seconds:
            return f"this run has computed for {rules.seconds:g} s, as end_when.seconds says"
        return ""
