"""The command line. Libraries that are slow to import are imported by the command that needs them."""

from __future__ import annotations

import gc
import json
import time
import traceback
from dataclasses import asdict, replace
from importlib.metadata import entry_points
from typing import Annotated, NoReturn

import typer

from landsweep.orchestrator.commands.claims import claims
from landsweep.orchestrator.commands.doctor import doctor
from landsweep.orchestrator.commands.explain import explain
from landsweep.orchestrator.commands.figures import figures
from landsweep.orchestrator.commands.kinds import kinds, new
from landsweep.orchestrator.commands.options import (
    AsJson,
    Changes,
    Experiment,
    MostUnits,
    Out,
    Results,
    SiteName,
    SpecFile,
    Trust,
    Uri,
)
from landsweep.orchestrator.commands.rerun import rerun
from landsweep.orchestrator.commands.sites import sites
from landsweep.orchestrator.commands.specs import specs
from landsweep.orchestrator.console import err, out
from landsweep.orchestrator.errors import LandsweepError, SpecError, UsageError, of_files
from landsweep.orchestrator.run.leaving import leave
from landsweep.orchestrator.spec_files import refuse_lost_folder, spec_folder
from landsweep.orchestrator.text import one_line
from landsweep.orchestrator.trust import start_reading, user_code

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = "landsweep.commands"  # entry points of kinds that bring commands: each is called with `app`

_GARBAGE = 100_000  # with Python's 700, a fifth of a short command is spent on looking through imported modules

app = typer.Typer(
    name="landsweep",
    help="Sweeps for the science of neural-network training: loss landscapes, model zoos, searches, learning-rate "
    "transfer, scaling laws, functions of your own; on one machine or a cluster.",
    epilog="Begin with: landsweep specs, then landsweep run function_minima",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out.print(f"landsweep {version('landsweep')}")
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line; errors meant for the user are printed without a traceback."""
    gc.set_threshold(_GARBAGE, 20, 100)
    for entry in entry_points(group=COMMANDS):
        entry.load()(app)
    start_reading("sweep.json")  # a command that runs a spec of the user's says so
    try:
        app()
    except SystemExit as e:
        leave(e.code)
    except Exception as e:  # noqa: BLE001 - Python's own end would wait for what units have left running
        named = e if isinstance(e, LandsweepError) else of_files(e) if isinstance(e, OSError) else None
        if named is None:
            traceback.print_exc()
            leave(1)
        err.print_error(named)
        leave(named.exit_code)
    leave(0)


@app.callback()
def _every(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """Sweeps for the science of neural-network training."""
    refuse_lost_folder()


@app.command(epilog="Example: landsweep run landscape_skip axes.x.linear=[-1,1,101] site.workers=8")
def run(
    spec: SpecFile,
    changes: Changes = None,
    site: SiteName = None,
    out_dir: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a sweep; resume it when it was stopped, extend it when its axes have grown.

    A spec in stages runs as one: its changes begin with the name of a stage (train.seeds=3).

    Exit codes: 0 all units ended well; 1 some failed, or the report could not be made; 2 the input can't be used;
    3 stopped; the same command resumes it.
    """
    from landsweep.orchestrator.assignments import split_changes
    from landsweep.orchestrator.commands.drive import drive, outcome
    from landsweep.orchestrator.commands.stages import drive_stages
    from landsweep.orchestrator.run.stages import read_stages
    from landsweep.orchestrator.run.sweep import load_spec
    from landsweep.orchestrator.site import load_site

    user_code()
    spec_changes, site_changes = split_changes(changes)
    if dry_run:
        return plan(spec, changes, site, out_dir, as_json)
    at = load_site(site, site_changes)
    if at.launcher is not None:
        raise SpecError(f"site {site} is for `landsweep submit`: `run` computes on this machine, so give another")
    if (stages := read_stages(spec, spec_changes)) is not None:
        raise typer.Exit(drive_stages(stages, at, out_dir or f"results/{stages.name}", as_json=as_json))
    kind, parsed = load_spec(spec, spec_changes)
    where = out_dir or f"results/{parsed.name}"
    code, report = drive(kind, parsed, at, where, spec_folder(spec))
    if as_json:
        out.print_json(json.dumps(outcome(where, code, report)))
    raise typer.Exit(code)


@app.command(epilog="Example: landsweep plan landscape_skip axes.x.linear=[-1,1,201] --json")
def plan(
    spec: SpecFile,
    changes: Changes = None,
    site: SiteName = None,
    out_dir: Out = None,
    as_json: AsJson = False,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Show how each tensor is drawn and trained instead.")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option(help="Time a few steps on this machine for the forecast (scaling only).")
    ] = True,
    check: Annotated[
        bool | None,
        typer.Option(
            help="Look for modules, functions, arguments and data as a run does; by default of functions and programs "
            "on this machine only."
        ),
    ] = None,
) -> None:
    """Show what a run would do: units in all, done and to run, and a forecast of time, files and bytes.

    Exit codes: 0; 2 the input can't be used, or the check finds that the plan can't be run.
    """
    from landsweep.orchestrator.assignments import split_changes
    from landsweep.orchestrator.commands.forecast import bench_here, forecast
    from landsweep.orchestrator.commands.looking import problem_of, show_tensors
    from landsweep.orchestrator.commands.stages import plan_stages
    from landsweep.orchestrator.run.stages import read_stages
    from landsweep.orchestrator.run.sweep import load_spec
    from landsweep.orchestrator.site import load_site

    user_code()
    spec_changes, site_changes = split_changes(changes)
    if (stages := read_stages(spec, spec_changes)) is not None:
        if tensors:
            raise SpecError(f"--tensors: {spec} is in stages; give the spec of one sweep")
        root = out_dir or f"results/{stages.name}"
        return plan_stages(stages, load_site(site, site_changes), root, calibrate=calibrate, as_json=as_json)
    kind, parsed = load_spec(spec, spec_changes)
    if tensors:
        return show_tensors(kind, parsed, spec_folder(spec), as_json)
    where = out_dir or f"results/{parsed.name}"
    chosen = load_site(site, site_changes)
    bench = bench_here(chosen, spec_folder(spec))
    problem = problem_of(kind, parsed, chosen, bench, check, timed=calibrate)
    forecasts = forecast(kind, parsed, chosen, where, bench if calibrate and problem is None else None)
    expected = replace(forecasts, problem=problem)
    if as_json:
        out.print_json(json.dumps(expected.fields()))
    else:
        out.print(expected.text())
    if expected.problem is not None:
        raise SpecError(f"the plan can't be run here: {expected.problem}")
    return None


@app.command(epilog="Example: landsweep status results/landscape_skip --watch")
def status(
    folder: Results,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 s until the run ends.")] = False,
) -> None:
    """Show where a sweep stands, from any terminal."""
    from landsweep.orchestrator.commands.display import state, state_text
    from landsweep.orchestrator.commands.stages import stages_at, states_text
    from landsweep.orchestrator.run.sweep import ledger_at

    if (stages := stages_at(folder)) is not None:
        if watch:
            raise UsageError(
                f"--watch: {folder} holds stages; watch one of them, such as {next(iter(stages.values()))}"
            )
        return states_text(folder, stages, as_json=as_json)
    if watch and not as_json:
        from landsweep.orchestrator.commands.watching import watch_sweep

        return watch_sweep(folder)
    while True:
        now = state(ledger_at(folder))
        if as_json:
            out.print_json(json.dumps(now))
        else:
            out.print(state_text(now))
        if not watch or not now["running"]:
            return None
        time.sleep(2)


@app.command(epilog="Example: landsweep report results/landscape_skip")
def report(folder: Results, trust: Trust = False) -> None:
    """Write report/index.html and figures from the rows."""
    from landsweep.orchestrator.commands.publish import write_report
    from landsweep.orchestrator.commands.stages import report_stages, stages_at
    from landsweep.orchestrator.run.sweep import open_sweep
    from landsweep.orchestrator.storage.ledger import check_facts

    if (stages := stages_at(folder)) is not None:
        out.print(f"all stages: {report_stages(folder, stages, trust=trust)}")
        return
    sweep = open_sweep(folder, trust=trust)
    out.print(f"report: {write_report(sweep, folder)[0]}")
    for damage in sweep.ledger.damaged:
        err.print(f"left out: {one_line(damage.path)} is damaged ({damage.reason}). Run the sweep again to repair it")
    if (changed := check_facts(sweep.ledger.sweep)) is not None:
        err.print(f"not proved: what the report says of the sweep itself, since of {changed}")


app.command(epilog="Example: landsweep claims results/landscape_skip results/transfer_mlp --check")(claims)


@app.command(epilog="Example: landsweep verify results/landscape_skip")
def verify(
    folder: Results,
    as_json: AsJson = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte of weights and states too.")] = False,
    reevaluate: Annotated[
        int, typer.Option("--reevaluate", min=0, help="As --deep; then recompute up to this many results from weights.")
    ] = 0,
    trust: Trust = False,
) -> None:
    """Prove that every unit of the plan has exactly one row, and that rows, series and prepared arrays are as written.

    Files that rows name, such as weights, must exist and be whole, and saved states must be whole. With --deep each of
    their bytes is read and compared with the checksum in the rows or the digest in the state.
    """
    from landsweep.orchestrator.commands.display import findings_text, mending
    from landsweep.orchestrator.run.sweep import open_sweep

    sweep = open_sweep(folder, trust=trust)
    findings = sweep.verify(deep=deep or reevaluate > 0)
    wrong = sweep.audit(reevaluate, findings.units_affected) if reevaluate else []
    if as_json:
        more = {"reevaluated": reevaluate, "not_reproduced": wrong, "mend": mending(findings, folder)}
        out.print_json(json.dumps({**asdict(findings), **more}))
    else:
        out.print(findings_text(findings, folder))
        for line in wrong:
            out.print(line)
        if reevaluate and not wrong:
            out.print(f"recomputed up to {reevaluate:,} results: all as in their rows")
    if not findings.sound or findings.missing or wrong:
        raise typer.Exit(1)


app.command(
    epilog="Example: landsweep rerun results/function_minima --status failed --cause timeout site.unit_timeout=600"
)(rerun)


@app.command("export-mlflow", epilog="Example: landsweep export-mlflow results/landscape_skip --uri http://mlflow:5000")
def export_mlflow(
    folder: Results,
    uri: Uri = None,
    experiment: Experiment = None,
    most: MostUnits = 500,
    trust: Trust = False,
) -> None:
    """Export a sweep to MLflow; doing it twice changes nothing."""
    from landsweep.orchestrator.commands.publish import write_report
    from landsweep.orchestrator.commands.tracked import export_now
    from landsweep.orchestrator.run.sweep import open_sweep

    sweep = open_sweep(folder, trust=trust)
    out.print(export_now(sweep, folder, uri, experiment, most, lambda: write_report(sweep, folder)[1]))


@app.command(epilog="Example: landsweep track results/landscape_skip --uri http://mlflow:5000")
def track(
    folder: Results,
    uri: Uri = None,
    experiment: Experiment = None,
    most: MostUnits = 100,
    every: Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks.")] = 60,
    trust: Trust = False,
) -> None:
    """Follow a running sweep in MLflow from any machine that sees its results; correct its run if it has ended.

    `landsweep run` does this by itself. Use it where only another machine reaches the tracking server, or where the
    driver was killed and the run still says RUNNING.
    """
    from landsweep.orchestrator.commands.follow import RemoteRun, follow
    from landsweep.orchestrator.commands.tracked import beside
    from landsweep.orchestrator.run.sweep import open_sweep

    trusted = open_sweep(folder, trust=trust).trusted
    store = uri or beside(folder, trusted, "--uri URI")
    run = RemoteRun(folder)
    line = follow(
        folder, store, every=every, most=most, trust=trusted, say=err.print, run_end=run, experiment=experiment
    )
    out.print(line)


app.command(epilog="Example: landsweep kinds zoo recipe.net")(kinds)
app.command(epilog="Example: landsweep new zoo > my_zoo.yaml")(new)
app.command(epilog="Example: landsweep specs landscape_skip > my_landscape.yaml")(specs)
app.command(epilog="Example: landsweep sites slurm > my_cluster.yaml")(sites)
app.command(epilog="Example: landsweep doctor")(doctor)
app.command(epilog="Example: landsweep explain zoo_digits_hyper samples.count=100")(explain)
app.command(epilog="Example: landsweep figures results/landscape_skip --style paper --format pdf")(figures)
