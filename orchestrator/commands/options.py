"""Arguments and options that several commands have, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landsweep.orchestrator.spec_files import spec_path

__all__ = [
    "AsJson",
    "Changes",
    "Experiment",
    "MostUnits",
    "Out",
    "Results",
    "SiteName",
    "SpecFile",
    "Trust",
    "Uri",
]

SpecFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC",
        parser=spec_path,
        help="YAML file that says what to compute, or the name of a shipped spec (see `landsweep specs`).",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=VALUE]...",
        help="Changes to spec fields; the prefix `site.` changes the site. Values are YAML, but `#` starts no comment "
        "(colour=#ff0000), and quotes turn anything into text (id='\"1\"'). Name axes and settings by their whole "
        "path: axes.optimizer.learning_rate=[0.1,0.2].",
    ),
]
Results = Annotated[str, typer.Argument(metavar="DIR", help="Results folder of a sweep, a path or URL.")]
SiteName = Annotated[str | None, typer.Option("--site", help="Site file, or name of an installed one.")]
Out = Annotated[
    str | None, typer.Option("--out", help="Results folder, or s3://BUCKET/NAME, gs://...; by default results/NAME.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Treat DIR as your own: run its code, use the MLflow store beside it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")]
Uri = Annotated[
    str | None, typer.Option("--uri", help="MLflow tracking URI; for your own sweeps by default DIR/../mlflow.db.")
]
Experiment = Annotated[str | None, typer.Option("--experiment", help="MLflow experiment; by default landsweep-KIND.")]
MostUnits = Annotated[int, typer.Option("--units", min=0, help="At most this many units get a run of their own.")]
