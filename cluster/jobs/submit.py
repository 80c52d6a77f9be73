"""From a spec and a site to a queued job: freeze, check, submit, record."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from landsweep.cluster.jobs.jobs import Job, announce, claim, drop, jobs_of, launcher_of, record, submissions, withdraw
from landsweep.cluster.launch import NONCE_FILE, PRIVATE, Draft, Launch, write_private
from landsweep.cluster.launchers.launcher import Launcher, NotQueued
from landsweep.cluster.launchers.preflight import results_checks
from landsweep.cluster.node.node import own_versions
from landsweep.orchestrator.assignments import split_changes
from landsweep.orchestrator.commands.forecast import Forecast, forecast
from landsweep.orchestrator.commands.stages import check_stages, forecasts
from landsweep.orchestrator.errors import SpecError, SweepLocked, UsageError
from landsweep.orchestrator.notes import held, note, state_folder
from landsweep.orchestrator.redaction import holds_credentials
from landsweep.orchestrator.run.stages import STAGES, read_stages
from landsweep.orchestrator.run.sweep import load_spec
from landsweep.orchestrator.site import Site, launcher_type, load_site
from landsweep.orchestrator.spec_files import spec_folder
from landsweep.orchestrator.storage.store import folder_here, is_url

__all__ = ["draft", "keep_private", "submit"]

_NO_STATE = "~/.local/state/landsweep, or that below XDG_STATE_HOME, is no folder that you alone can write to"


def draft(
    spec: Path,
    changes: Sequence[str] | None,
    site: str,
    out: str | None,
    words: Sequence[str],
    *,
    offline: bool = False,
) -> tuple[Launcher[Any], Draft]:
    """The launcher of a site, and the launch that a spec makes; nothing is written.

    Args:
        spec: path of the spec file.
        changes: `field=value` of spec and site.
        site: file or name.
        out: results, path or URL.
        words: the command line, shown as the command that resumes the sweep.
        offline: do not read the results: no forecast, and no check that they are of the same spec.

    Raises:
        UsageError: a field is wrong, the site has no launcher, or the results are of another spec.
    """
    spec_changes, site_changes = split_changes(list(changes or ()))
    if not site:
        raise SpecError("--site: missing; give a site file with a section `launcher`, such as slurm")
    at = load_site(site, site_changes)
    if at.launcher is None:
        raise SpecError(f"site {site} has no section `launcher`, so run the sweep with `landsweep run --site {site}`")
    launcher: Launcher[Any] = launcher_type(at.launcher.type, site)(at.launcher)
    _refuse_secrets_of(launcher)
    what = _what(spec, spec_changes, at, out, offline=offline)
    elsewhere = is_url(what["out"]) or not launcher.shares_files
    home = folder_here(what["out"]).absolute() if elsewhere else Path(what["out"])
    inside = at.model_copy(update={"launcher": None, "executor": "ray", "address": "auto"})
    fields = inside.model_dump(mode="json", exclude_none=True)
    private = {name: fields[name] for name in PRIVATE if _may_be_secret(fields.get(name))}
    if at.notify is not None and (launcher.shares_files or "://" in at.notify):
        private["notify"] = at.notify  # addresses of chats are secrets as a whole, whatever their form
    return launcher, Draft(
        **what,
        home=f"{home}/jobs/0001",
        number=1,
        folder=str(spec_folder(spec).resolve()),
        cwd=str(Path.cwd()),
        site={name: value for name, value in fields.items() if name not in private},
        private=private,
        command=f"landsweep {shlex.join(words)}",
        versions=own_versions(),
    )


def _what(spec: Path, changes: Sequence[str], at: Site, out: str | None, *, offline: bool) -> dict[str, Any]:
    """The fields of a launch that say what is run, where its results go, and how long and large it will be."""

    def results(name: str) -> str:
        where = out or f"results/{name}"
        return where if is_url(where) else str(Path(where).absolute())

    expected: list[Forecast | None] = []
    if (stages := read_stages(spec, changes)) is None:
        kind, parsed = load_spec(spec, changes)
        where = results(parsed.name)
        what = {"name": parsed.name, "out": where, "kind": kind.name, "spec": parsed.model_dump(mode="json")}
        if not (offline and is_url(where)):
            expected = [forecast(kind, parsed, at, where)]
    else:
        where = results(stages.name)
        check_stages(stages, at, where)
        what = {"name": stages.name, "out": where, "kind": STAGES, "spec": stages.frozen()}
        if not (offline and is_url(where)):
            expected = [stage.forecast for stage in forecasts(stages, at, where, calibrate=False)]
    return {**what, "seconds": _seconds(expected), "bytes": sum(e.bytes for e in expected if e is not None)}


def _seconds(expected: Sequence[Forecast | None]) -> float | None:
    """Seconds of one worker for all of them; None if some are unknown."""
    known = [e.seconds * (e.workers or 1) for e in expected if e is not None and e.seconds is not None]
    return sum(known) if known and len(known) == len(expected) else None


def _may_be_secret(value: object) -> bool:
    """Whether a field of a site may hold credentials: marked ones, or environment variables, seldom marked."""
    return holds_credentials(value) or (isinstance(value, dict) and bool(value.get("env_vars")))


def _refuse_secrets_of(launcher: Launcher[Any]) -> None:
    """Nothing that would stand in the job's script may hold credentials; nor is such a script printed.

    Raises:
        UsageError: a field of the launcher's section holds some.
    """
    section = launcher.options.model_dump(mode="json")
    if named := [name for name, value in section.items() if name != "runtime_env" and holds_credentials(value)]:
        raise UsageError(
            f"launcher.{', launcher.'.join(named)}: holds what looks like a credential, and would be stored beside "
            "the results. Put it into a file that you alone can read, and load that, such as `source ~/.my_keys`"
        )


def keep_private(launcher: Launcher[Any], launch: Draft) -> Launch:
    """Credentials of the site into a file that this user alone can read, outside the results.

    Raises:
        UsageError: the cluster could not read that file.
    """
    if not launch.private:
        return Launch(**launch.model_dump())
    names = ", ".join(f"site.{name}" for name in launch.private)
    if not launcher.shares_files:
        raise UsageError(
            f"{names}: holds credentials or environment variables, which `{launcher.name}` would hand over in plain "
            "sight. Set them on the cluster: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, a secret in "
            "launcher.env_from, or launcher.runtime_env; in place of an address, `notify` can name a command there"
        )
    file = note("launches", secrets.token_hex(16), launch.private)
    if file is None:
        raise UsageError(f"{names}: can't be stored for the job, because {_NO_STATE}")
    return Launch(**launch.model_dump() | {"private_file": str(file)})


def submit(launcher: Launcher[Any], draft: Draft, say: Callable[[str], None]) -> Job:
    """Check what can be checked, then queue; what was written is removed again if nothing was queued.

    A submission that is cut off while the cluster answers may have queued the job. It was announced, so that whoever
    asks for jobs of this sweep next finds it.

    Raises:
        SweepLocked: another job of this sweep is queued or runs.
        UsageError: a check failed, or the cluster refuses; nothing was queued. Or the cluster gave no clear answer.
    """
    results = draft.home.rpartition("/jobs/")[0]
    with held("submissions", os.path.realpath(results)) as alone:
        if not alone:
            raise SweepLocked(f"another `landsweep submit` is submitting to {results}: wait until it has ended")
        _refuse_second(draft)
        return _queue(launcher, draft, say)


def _queue(launcher: Launcher[Any], draft: Draft, say: Callable[[str], None]) -> Job:
    if state_folder() is None:
        raise UsageError(f"the job could not be followed or ended later: {_NO_STATE}")
    launch = claim(keep_private(launcher, draft))
    try:
        for name, text in {NONCE_FILE: secrets.token_hex(8), **launcher.files(launch)}.items():
            write_private(launch.file(name), text)
        failed = []
        of_results = results_checks(launch) if is_url(launch.out) or launcher.shares_files else ()
        for check in [*of_results, *launcher.checks(launch)]:
            say(check.text())
            failed += [check] if check.ok is False else []
        if failed:
            lines = "\n".join(f"  - {c.what}: {c.detail}. {c.fix}" for c in failed)
            raise UsageError(f"nothing was queued, because {len(failed)} of the checks failed:\n{lines}")
        announce(launch, launcher)
    except BaseException:
        drop(launch)
        raise
    try:
        job = launcher.submit(launch)
    except NotQueued:
        drop(launch)
        raise
    except BaseException:
        results = shlex.quote(launch.home.rpartition("/jobs/")[0])
        say(f"the cluster may have queued the job all the same: `landsweep jobs {results}` asks it")
        raise
    return record(launch, job, launcher)


def _refuse_second(launch: Launch) -> None:
    """Make sure that no other job of this sweep is queued or runs.

    Raises:
        SweepLocked: one is.
        Unreachable: an earlier submission was cut off, and the cluster does not say what became of it.
    """
    results = launch.home.rpartition("/jobs/")[0]
    for submission in submissions(results):
        if (job := submission.launcher.find(submission.launch)) is None:
            withdraw(submission.launch)
        else:
            record(submission.launch, job, submission.launcher)
    last = next(reversed(list(jobs_of(results))), None)
    if last is None or last.state.over or not last.submitted_here:
        return
    status = launcher_of(last).status(last.job, Path(last.home))
    if not status.state.over:
        home = shlex.quote(last.home)
        raise SweepLocked(
            f"job {last.job} works on {last.out} already ({status.detail}): follow it with "
            f"`landsweep logs {home} --follow`, or end it with `landsweep cancel {home}`"
        )
