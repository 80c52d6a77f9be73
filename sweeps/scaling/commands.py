"""The command `predict`. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

from typing import Annotated

import typer

from landsweep.orchestrator.text import printable

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("predict", epilog="Example: landsweep predict results/scaling_markov --flops 1e12 --flops 1e13")(
        _predict
    )


def _predict(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Results of a scaling study, a path or URL.")],
    flops: Annotated[list[float], typer.Option("--flops", help="Compute budget in FLOPs; may be given several times.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")] = False,
) -> None:
    """Predict the best size, number of tokens and loss for a compute budget from a study's fit, with intervals."""
    from landsweep.sweeps.scaling.predict import predict

    prediction = predict(folder, flops)
    typer.echo(prediction.json() if as_json else printable(prediction.text()))
