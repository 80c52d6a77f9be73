"""What is known of a sweep, for Python: rows, series, prepared arrays, models, figures and tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.commands.display import state, state_text
from landsweep.orchestrator.commands.publish import report_of
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.parts import Figure, Report, Table
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import load_prepared
from landsweep.orchestrator.storage.store import is_url
from landsweep.orchestrator.trust import reading

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from landsweep.sweeps.lab.trained_models.reader import Zoo

__all__ = ["Picture", "Results", "load"]


def load(where: str | Path, *, trust: bool = False) -> Results:
    """What is known of a sweep, finished or running.

    Args:
        where: its results folder, a path or URL.
        trust: code that the sweep names may run; that of a sweep of your own may anyway.

    Raises:
        SpecError: there is no sweep.
    """
    return Results(str(where), trust=trust)


class Results:
    """A sweep's results. What was read is kept; `reload()` looks again, such as at a sweep that runs.

    Attributes:
        where: its results folder, a path or URL.
    """

    def __init__(self, where: str, *, trust: bool = False) -> None:
        self.where = where
        self._trust = trust
        self._sweep = Sweep.at(where, trust=trust)

    def reload(self) -> Results:
        """The same sweep as it is now."""
        return Results(self.where, trust=self._trust)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._sweep.manifest["name"])

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self._sweep.kind.name

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec, with all defaults."""
        return self._sweep.spec.model_dump(mode="json")

    @property
    def status(self) -> dict[str, Any]:
        """Where it stands now: `running`, `phase`, `done`, `total`, `counts` by status, and more."""
        return state(self._sweep.ledger)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One line per unit of the plan that has ended: key, status, params, metrics, meters."""
        return self._sweep.rows()

    @cached_property
    def arrow(self) -> pa.Table:
        """The same rows as an Arrow table, of the types in which they are stored."""
        return self._sweep.table()

    @cached_property
    def series(self) -> pd.DataFrame:
        """What units gave step by step: key, step, metric, value."""
        return self._sweep.series()

    def curve(self, metric: str) -> pd.DataFrame:
        """One metric of the series beside the units' params (NAME_param if named like it): a line per unit and step.

        Raises:
            UsageError: the series have no such metric.
        """
        known = sorted(self.series["metric"].unique())
        if metric not in known:
            raise UsageError(f"{self.where} has no series of {metric!r}; there are {', '.join(known) or 'none'}")
        params = [c.name for c in self._sweep.kind.params(self._sweep.spec)]
        chosen = self.series[self.series["metric"] == metric].rename(columns={"value": metric})
        settings = self.rows[["key", *params]].rename(columns={n: f"{n}_param" for n in (metric, "step")})
        return settings.merge(chosen.drop(columns="metric"), on="key")

    @cached_property
    def prepared(self) -> dict[str, Mapping[str, np.ndarray[Any, Any]]]:
        """What the units share, by name: trained weights, directions. What is not computed yet is left out."""
        with self._reading():
            files = {p.name: p.file for p in self._sweep.kind.preparations(self._sweep.spec)}
        arrays = {name: load_prepared(self._sweep.ledger.store, file) for name, file in files.items()}
        return {name: a for name, a in arrays.items() if a is not None}

    @cached_property
    def models(self) -> Zoo:
        """The networks that the sweep has trained and kept.

        Raises:
            UsageError: it has trained none.
        """
        from landsweep.sweeps.lab.trained_models.reader import Zoo

        return Zoo(self.where, trust=self._trust)

    @cached_property
    def report(self) -> Report:
        """The kind's report: sections with text, tables and figures, and the numbers that sum the sweep up."""
        with self._reading():
            return report_of(self._sweep.kind, self._sweep.spec, self.rows, self.series)

    @property
    def summary(self) -> dict[str, float]:
        """The few numbers that sum the sweep up."""
        return dict(self.report.summary)

    @property
    def figures(self) -> dict[str, Picture]:
        """The figures of the report, by name; a notebook shows them."""
        parts = [part for section in self.report.sections for part in section.parts]
        return {part.name: Picture(part) for part in parts if isinstance(part, Figure)}

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of the report that have a name."""
        import pandas as pd

        parts = [part for section in self.report.sections for part in section.parts]
        named = [part for part in parts if isinstance(part, Table) and part.name]
        return {t.name: pd.DataFrame([list(line) for line in t.lines], columns=list(t.header)) for t in named}

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.where, trusted=self._sweep.trusted)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        place = self.where if is_url(self.where) else str(Path(self.where))
        return f"<{state_text(self.status)} in {place}>"


class Picture:
    """A figure of a report, which a notebook shows.

    Attributes:
        name: of its file.
        caption: what is seen.
        figure: as matplotlib or Plotly has it.
    """

    def __init__(self, part: Figure) -> None:
        self.name, self.caption = part.name, part.caption
        self.figure = part.picture if part.picture is not None else part.interactive
        self._drawn = part.picture is not None

    def save(self, path: str | Path) -> None:
        """Write it as a file of the type that the name ends in: png, pdf, svg; html for an interactive one."""
        if self._drawn:
            self.figure.savefig(path, bbox_inches="tight")
        else:
            self.figure.write_html(path)

    def _repr_mimebundle_(self, **wanted: object) -> dict[str, object]:
        del wanted
        if not self._drawn:
            bundle: dict[str, object] = self.figure._repr_mimebundle_()
            return bundle
        picture = io.BytesIO()
        self.figure.savefig(picture, format="png", bbox_inches="tight")
        return {"image/png": picture.getvalue(), "text/plain": f"{self.name}: {self.caption}"}
