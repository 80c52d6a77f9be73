"""The zoo's commands: card, regeneration, export. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.inside import folder_in
from landsweep.orchestrator.text import printable

__all__ = ["register"]

Results = Annotated[str, typer.Argument(metavar="DIR", help="A zoo: results of a sweep (a path or URL), or an export.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("zoo-card", epilog="Example: landsweep zoo-card results/zoo_digits_hyper")(_card)
    app.command("regenerate", epilog="Example: landsweep regenerate results/zoo_digits_hyper 3f2a")(_regenerate)
    app.command("zoo-export", epilog="Example: landsweep zoo-export results/zoo_digits_hyper --to my_zoo")(_export)


def _card(
    folder: Results,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to write to; by default DIR/card. Required if DIR is a URL.")
    ] = None,
) -> None:
    """Write the zoo's dataset card: README.md and card.html with figures."""
    from landsweep.sweeps.lab.trained_models.reader import Zoo
    from landsweep.sweeps.zoo.card import write_card

    zoo = Zoo(folder)
    if to is None and zoo.files.folder is None:
        raise UsageError(f"{folder} is not a local folder: give --to FOLDER, where the card is written")
    for path in write_card(zoo, to or folder_in(Path(folder), "card")):
        typer.echo(f"card: {path}")


def _regenerate(
    folder: Results,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a model; its first digits are enough.")],
    backend: Annotated[
        str | None, typer.Option("--backend", help="Back-end to train with, such as loop; by default that of its row.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda:0.")] = "cpu",
    trust: Annotated[
        bool, typer.Option("--trust", help="Let code run that DIR names, though you did not train this zoo here.")
    ] = False,
) -> None:
    """Train one model again, alone, from its row, and compare the weights of all checkpoints."""
    from landsweep.sweeps.lab.trained_models.reader import Zoo
    from landsweep.sweeps.zoo.audit import regenerate

    comparison = regenerate(Zoo(folder, trust=trust)[key], backend=backend, device=device)
    typer.echo(printable(comparison.text()))
    if not comparison.close:
        raise typer.Exit(1)


def _export(
    folder: Results,
    to: Annotated[Path, typer.Option("--to", help="Folder to create.")],
    per_model: Annotated[
        bool, typer.Option("--per-model", help="Write one file per model and checkpoint, not stacked ones.")
    ] = False,
) -> None:
    """Write the zoo as a folder that can be published: Parquet, safetensors and a README card."""
    from landsweep.sweeps.lab.trained_models.reader import Zoo
    from landsweep.sweeps.zoo.export import export_zoo

    typer.echo(f"exported {export_zoo(Zoo(folder), to, per_model=per_model)} models to {to}")
