"""The command `explain`: what a spec will do, in words. Libraries are imported when it is run."""

from __future__ import annotations

import itertools
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.commands.options import Changes, Out, SiteName, SpecFile
from landsweep.orchestrator.console import out
from landsweep.orchestrator.redaction import command_line
from landsweep.orchestrator.spec_files import spec_folder
from landsweep.orchestrator.trust import user_code

if TYPE_CHECKING:
    from landsweep.orchestrator.commands.forecast import Forecast
    from landsweep.orchestrator.kind import SweepKind
    from landsweep.orchestrator.site import Site
    from landsweep.orchestrator.spec import Spec

__all__ = ["explain"]

_WIDTH = 100
_LOOKED_AT = 100_000  # units whose values are listed
_SHOWN = 6  # values of an axis, metrics, preparations
_REPEATS = ("seed", "replicate", "repeat", "trial", "fold", "draw")


def explain(spec: SpecFile, changes: Changes = None, site: SiteName = None, out_dir: Out = None) -> None:
    """Say in words what a spec will do: units, axes, what each computes, where results go, what it costs."""
    from landsweep.orchestrator.assignments import split_changes
    from landsweep.orchestrator.commands.forecast import forecast
    from landsweep.orchestrator.run.sweep import load_spec
    from landsweep.orchestrator.site import load_site

    user_code()
    spec_changes, site_changes = split_changes(changes)
    kind, parsed = load_spec(spec, spec_changes)
    where, at = out_dir or f"results/{parsed.name}", load_site(site, site_changes)
    expected = forecast(kind, parsed, at, where)
    paragraphs = [
        f"{parsed.name} is a sweep of the kind {kind.name}: {kind.summary}. {parsed.description}".rstrip(),
        *_bases(spec),
        *kind.in_words(parsed),
        *_units(kind, parsed, expected),
        *_rows(kind, parsed),
        *_shared(kind, parsed),
        _place(at),
        f"Results go to {where}: one row per unit in Parquet, and report/index.html at the end"
        + ("." if at.tracking is False else "; MLflow shows the sweep while it runs."),
        *_cost(expected),
    ]
    for paragraph in paragraphs:
        out.print(paragraph if "\n" in paragraph else textwrap.fill(paragraph, _WIDTH))
        out.print("")
    out.print(f"Run it: landsweep run {shlex.join(command_line()[1:])}")


def _bases(file: Path) -> Iterator[str]:
    from landsweep.orchestrator.bases import layers_of
    from landsweep.orchestrator.reading import read_yaml

    layers = layers_of(read_yaml(file), str(file), spec_folder(file))
    if len(layers) > 1:
        yield f"It builds on {', which builds on '.join(layer.source for layer in layers[-2::-1])}."


def _units(kind: SweepKind[Any], spec: Spec, expected: Forecast) -> Iterator[str]:
    """How many there are, and over what they go."""
    from landsweep.orchestrator.run.plan import planned

    adaptive = kind.planner(spec).adaptive
    units = [unit.params for unit in itertools.islice(planned(kind, spec), _LOOKED_AT)]
    names = dict.fromkeys(name for params in units for name in params)
    lines = [f"  {name}: {_values([params.get(name) for params in units])}{_repeat(name, units)}" for name in names]
    if expected.total is None:
        head = "How many units there are depends on their results. The first ones go over:"
    elif adaptive:
        head = f"There are at most {expected.total:,} units; results decide which. The first ones go over:"
    else:
        head = f"There are {expected.total:,} units, over:"
    yield "\n".join([head, *lines])


def _repeat(name: str, units: Sequence[Mapping[str, Any]]) -> str:
    """A note, where an axis of such a name repeats all that the others say."""
    if name.rpartition(".")[2] not in _REPEATS:
        return ""
    values = {params.get(name) for params in units}
    others = {tuple((other, value) for other, value in params.items() if other != name) for params in units}
    repeats = len(values) > 1 and len(others) * len(values) == len(units)
    return " (the same settings again; reports average over them)" if repeats else ""


def _values(given: list[Any]) -> str:
    """Different values in order: all of a few, or how many and from where to where."""
    values = list(dict.fromkeys(given))
    if len(values) == 1:
        return f"always {_word(values[0])}"
    if len(values) <= _SHOWN:
        return ", ".join(map(_word, values))
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        return f"{len(values):,} values from {_word(min(numbers))} to {_word(max(numbers))}"
    return f"{len(values):,} values, such as {', '.join(map(_word, values[:3]))}"


def _word(value: object) -> str:
    if value is None:
        return "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rows(kind: SweepKind[Any], spec: Spec) -> Iterator[str]:
    columns = kind.columns(spec)
    if columns is None:
        yield "A row holds the unit's settings and whatever the unit gives."
        return
    words = [f"{c.name} ({c.doc})" if c.doc else c.name for c in columns[:_SHOWN]]
    more = f", and {len(columns) - _SHOWN:,} more metrics" if len(columns) > _SHOWN else ""
    yield f"A row holds the unit's settings and {', '.join(words)}{more}."


def _shared(kind: SweepKind[Any], spec: Spec) -> Iterator[str]:
    """What is computed before the first unit."""
    steps = kind.preparations(spec)
    if names := [step.name for step in steps if not step.pack]:
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        yield f"Before the first unit, these are computed once for all of them: {', '.join(names[:_SHOWN])}{more}."
    if any(step.pack for step in steps):
        yield "Many units can be computed at once, as packs: how many are best is measured first."


def _place(site: Site) -> str:
    if site.executor == "local":
        return "All is computed in this process, one unit after the other."
    workers = "as many workers as there is room for" if site.workers == "auto" else f"{site.workers} workers"
    share = {"CPU": site.cpus, "GPU": site.gpus}
    each = " and ".join(f"{n:g} {what}{'s' if n > 1 else ''}" for what, n in share.items() if n)
    place = "a Ray of its own on this machine" if site.address == "local" else f"the Ray cluster {site.address}"
    return f"It runs on {place}, by {workers} with {each} each."


def _cost(expected: Forecast) -> Iterator[str]:
    if expected.done:
        yield f"{expected.done:,} units have rows already, and are not computed again."
    for line in expected.text().splitlines():
        if line.startswith(("time:", "disk:")):
            yield f"{line[:1].upper()}{line[1:]}."
