"""The reference of the Python interface: what mkdocstrings makes of the docstrings."""

from __future__ import annotations

__all__ = ["page"]

SECTIONS = {
    "Sweeps from Python": ("Runs, plans and results; [the guide](../python.md) shows them in use.", [
        "landsweep.interface.run", "landsweep.interface.run_stages", "landsweep.interface.plan",
        "landsweep.results.load",
        "landsweep.results.Results",
        "landsweep.results.Picture", "landsweep.orchestrator.commands.forecast.Forecast",
    ]),
    "Inside a unit": ("What functions and scripts may use while they are swept ([guide](../own.md)).", [
        "landsweep.unit",
    ]),
    "Stored models": ("Models of a sweep as modules and data sets ([guide](../zoo.md)).", [
        "landsweep.sweeps.lab.trained_models.reader.Zoo", "landsweep.sweeps.lab.trained_models.member.Member",
    ]),
    "Fits": ("Scaling laws on any table ([guide](../laws.md)).", [
        "landsweep.sweeps.laws.fitting.fit.fit", "landsweep.sweeps.laws.fitting.fitted.Fit",
    ]),
    "Training": ("One pack of models without a sweep.", [
        "landsweep.sweeps.lab.training.train.train_pack", "landsweep.sweeps.lab.recipe.Recipe",
    ]),
    "Trainers of other libraries": ("Callbacks that report to a sweep.", [
        "landsweep.integrations.lightning", "landsweep.integrations.transformers",
    ]),
    "Kinds of your own": ("The contract of a kind ([how](../repository/CONTRIBUTING.md)).", [
        "landsweep.orchestrator.kind.SweepKind", "landsweep.orchestrator.kind.Workbench",
        "landsweep.orchestrator.kind.Preparation", "landsweep.orchestrator.planner.Planner",
        "landsweep.orchestrator.row.Column", "landsweep.orchestrator.row.Outcome", "landsweep.orchestrator.errors",
    ]),
}  # fmt: skip


def page() -> str:
    """The page, with a directive for each name."""
    parts = [
        "# Python",
        "Public names, from their docstrings. `from landsweep import run, plan, load, fit, Zoo, Recipe`.",
    ]
    for title, (about, names) in SECTIONS.items():
        parts += [f"## {title}", about, *(f"::: {name}" for name in names)]
    return "\n\n".join(parts) + "\n"
