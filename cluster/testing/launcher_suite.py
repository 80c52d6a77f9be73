"""What every launcher must do: inherit `LauncherSuite`, and, where its cluster is at hand, `LiveLauncherSuite`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from landsweep.cluster.jobs.follow import follow, refreshed
from landsweep.cluster.jobs.jobs import every_job, find_job, jobs_of
from landsweep.cluster.jobs.submit import draft, submit
from landsweep.cluster.launch import LAUNCH_FILE, Draft, Launch, read_launch
from landsweep.cluster.launchers.launcher import JobState, Launcher
from landsweep.orchestrator.errors import SpecError, SweepLocked
from landsweep.orchestrator.site import Site, launcher_type, parse_site
from landsweep.orchestrator.storage.ledger import Ledger, Store

__all__ = ["LauncherSuite", "LiveLauncherSuite", "square"]

_SECRET = "s3cret-of-a-test"


def square(i: int, seconds: float = 0.0) -> dict[str, float]:
    """The callable that the suite sweeps."""
    time.sleep(seconds)
    return {"square": float(i * i)}


class LauncherSuite:
    """Without a cluster. Subclasses set `section`: fields of `launcher` in a site file."""

    section: ClassVar[dict[str, Any]]

    def site(self) -> Site:
        return parse_site({"launcher": self.section}, "suite")

    def drafted(self, folder: Path, units: int = 5, seconds: float = 0.0, **site: Any) -> tuple[Launcher[Any], Draft]:  # noqa: ANN401
        """The launcher and a launch of a sweep that sleeps, drafted from files in `folder`."""
        spec = {
            "kind": "function",
            "name": "suite",
            "function": "landsweep.cluster.testing.launcher_suite:square",
            "fixed": {"seconds": seconds},
            "axes": {"i": {"range": units}},
        }
        (folder / "spec.yaml").write_text(json.dumps(spec))
        given = {"tracking": False, "shard_seconds": 1, "commit_seconds": 0.5, "launcher": self.section, **site}
        (folder / "site.yaml").write_text(json.dumps(given))
        return draft(folder / "spec.yaml", [], str(folder / "site.yaml"), self.out(folder), ["submit"], offline=True)

    def out(self, folder: Path) -> str | None:
        """Where results go: a folder or URL that the cluster can write to."""
        return str(folder / "results" / "suite")

    def test_what_would_be_submitted_is_pure_and_shown(self, tmp_path: Path) -> None:
        launcher, launch = self.drafted(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        files = launcher.files(launch)
        assert files and files == launcher.files(launch)
        shown = launcher.dry_run(launch)
        for name, text in files.items():
            assert str(launch.file(name)) in shown and text.strip() in shown
        assert all(command[0] in shown for command in launcher.commands(launch))
        assert sorted(tmp_path.rglob("*")) == before, "nothing is written"

    def test_no_secret_of_the_environment_is_handed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, _SECRET)
        launcher, launch = self.drafted(tmp_path)
        assert _SECRET not in launcher.dry_run(launch) + launch.text()

    def test_the_launch_survives_its_file(self, tmp_path: Path) -> None:
        _, launch = self.drafted(tmp_path)
        again = read_launch(launch.text())
        assert again.model_dump() == launch.model_dump()
        assert parse_site(again.site, "launch").launcher is None, "inside the job, the site is a plain one"

    def test_unknown_fields_name_the_known_ones(self) -> None:
        with pytest.raises(SpecError, match=r"bogus: unknown field; .*known here: .*type"):
            parse_site({"launcher": {**self.section, "bogus": 1}}, "suite")

    def test_the_section_survives_json(self) -> None:
        options = self.site().launcher
        assert options is not None
        again = parse_site({"launcher": json.loads(json.dumps(options.model_dump(mode="json")))}, "suite").launcher
        assert again == options


class LiveLauncherSuite(LauncherSuite):
    """With a cluster: real jobs. Subclasses may override `wait` for slow schedulers."""

    wait = 300.0

    def test_a_job_runs_to_its_end_and_is_resumed_by_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        launcher, launch = self.drafted(tmp_path, 12, 0.05)
        checks: list[str] = []
        job = submit(launcher, launch, checks.append)
        assert checks and job.job
        text: list[str] = []
        assert follow(job, text.append) == 0, "".join(text)
        assert "12 new" in "".join(text)
        assert self.units(launch) == list(range(12))
        self.settle()
        second, more = self.drafted(tmp_path, 15, 0.05)
        text.clear()
        assert follow(submit(second, more, checks.append), text.append) == 0, "".join(text)
        assert "3 new" in "".join(text)
        assert [j.number for j in jobs_of(Path(launch.home).parent.parent)] == [1, 2]
        assert find_job(job.job).number == 1
        assert next(j.job for j in every_job("results")) == job.job
        self.settle()

    def test_cancel_keeps_rows_and_a_second_job_is_refused_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        launcher, launch = self.drafted(tmp_path, 3000, 0.1)
        job = submit(launcher, launch, print)
        self.until("rows have come", lambda: len(self.units(launch)) > 5)
        submitted = read_launch((Path(job.home) / LAUNCH_FILE).read_text())
        assert self.site_launcher().find(submitted) == job.job, "were it not noted, it would be found"
        with pytest.raises(SweepLocked, match=rf"job {job.job}.*landsweep cancel"):
            submit(*self.drafted(tmp_path, 3000, 0.1), print)
        launcher.cancel(job.job, Path(job.home))
        self.until("it has ended", lambda: self.site_launcher().status(job.job, Path(job.home)).state.over)
        launcher.cancel(job.job, Path(job.home))  # it may have ended
        assert refreshed(job).state in (JobState.cancelled, JobState.failed, JobState.unknown)
        assert 5 < len(self.units(launch)) < 3000
        self.settle()

    def test_cancel_right_after_the_submission_is_not_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        launcher, launch = self.drafted(tmp_path, 3000, 0.1)
        job = submit(launcher, launch, print)
        launcher.cancel(job.job, Path(job.home))
        self.until("it has ended", lambda: self.site_launcher().status(job.job, Path(job.home)).state.over)
        assert refreshed(job).state in (JobState.cancelled, JobState.unknown)
        assert len(self.units(launch)) < 3000
        self.settle()

    def test_a_job_that_nobody_knows_is_unknown(self, tmp_path: Path) -> None:
        assert self.site_launcher().status("999999", tmp_path).state in (JobState.unknown, JobState.queued)
        assert self.site_launcher().logs("999999", tmp_path) == {}

    def site_launcher(self) -> Launcher[Any]:
        """A fresh launcher: what it is asked does not hang on what it remembers."""
        options = self.site().launcher
        assert options is not None
        launcher: Launcher[Any] = launcher_type(options.type, "suite")(options)
        return launcher

    def units(self, launch: Launch) -> list[int]:
        """The units that have rows, seen from here."""
        store = Store.at(launch.out)
        if not Ledger.exists(store):
            return []
        return sorted(Ledger.open(store).rows(["i"]).column("i").to_pylist())

    def settle(self) -> None:
        """Wait until the cluster is as before; nothing to do for most."""

    def until(self, what: str, true: Any) -> None:  # noqa: ANN401
        """Wait for something."""
        deadline = time.monotonic() + self.wait
        while not true():
            assert time.monotonic() < deadline, f"{what}: not within {self.wait:g} s ({os.getloadavg()[0]:.1f} load)"
            time.sleep(0.3)
