"""Ray Jobs: submit to a Ray cluster that runs already, through its jobs API.

Ray runs a job once and never again, so a driver that is lost is begun again by the same `landsweep submit`.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from landsweep.cluster.launch import NONCE_FILE, Launch
from landsweep.cluster.launchers.launcher import Check, JobState, JobStatus, Launcher, NotQueued
from landsweep.cluster.launchers.preflight import node_check, reachable_results
from landsweep.cluster.launchers.tool import Tool, ToolFailed
from landsweep.cluster.node.node import own_versions
from landsweep.cluster.node.programs import DRIVER, PROBE
from landsweep.orchestrator.errors import Unreachable
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.site import LauncherOptions
from landsweep.orchestrator.storage.readers import object_or_none

__all__ = ["RayJobs", "RayJobsOptions"]

_ENVIRONMENT = "runtime_env.json"
_VARIABLE = "LANDSWEEP_LAUNCH"
_PROBE_SECONDS = 60.0
_STATE_OF = {
    "PENDING": JobState.queued,
    "RUNNING": JobState.running,
    "SUCCEEDED": JobState.done,
    "FAILED": JobState.failed,
    "STOPPED": JobState.cancelled,
}


class RayJobsOptions(LauncherOptions):
    """The section `launcher` of a site for Ray Jobs."""

    type: Literal["rayjobs"] = "rayjobs"
    address: str = Field("http://127.0.0.1:8265", pattern=r"^https?://", description="of the cluster's dashboard")
    shared: bool = Field(False, description="the cluster's head sees the folders of this machine")
    runtime_env: dict[str, Any] = Field({}, description="of the driver, as Ray takes it: working_dir, pip, env_vars")
    cpus: float = Field(0, ge=0, description="CPUs that Ray reserves for the driver")
    python: str = Field("python", description="on the cluster")
    probe: bool = Field(True, description="look at the cluster's environment with a short job first")


class RayJobs(Launcher[RayJobsOptions]):
    """Submits with `ray job submit`, and asks the jobs API over HTTP."""

    name: ClassVar[str] = "rayjobs"
    options_type: ClassVar[type[LauncherOptions]] = RayJobsOptions

    @property
    def shares_files(self) -> bool:
        return self.options.shared

    def files(self, launch: Launch) -> Mapping[str, str]:
        """Without the values of environment variables: those go to the cluster and nowhere else."""
        environment = self._environment(launch)
        named = dict.fromkeys(self.options.runtime_env.get("env_vars", {}), "...")
        shown = {**environment, "env_vars": {**environment["env_vars"], **named}}
        return {_ENVIRONMENT: json.dumps(_without_credentials(shown), indent=2) + "\n"}

    def commands(self, launch: Launch) -> list[list[str]]:
        return [self._submission(f"{launch.name}-{launch.number:04d}", launch)]

    def submit(self, launch: Launch) -> str:
        job = _id(launch)
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:  # mode 0600
            json.dump(self._environment(launch), file)
            file.flush()
            self._hand_over(self._submission(job, launch, Path(file.name)))
        return job

    def find(self, launch: Launch) -> str | None:
        job = _id(launch)
        return None if self._ask("GET", f"/api/jobs/{job}", missing_ok=True) is None else job

    def status(self, job: str, home: Path) -> JobStatus:
        del home
        answer = self._ask("GET", f"/api/jobs/{job}", missing_ok=True)
        if answer is None:
            return JobStatus(JobState.unknown, "the cluster does not know it")
        message = " ".join(str(answer.get("message") or "").partition(", last available logs")[0].split())
        status = str(answer.get("status") or "no status")
        return JobStatus(_STATE_OF.get(status, JobState.unknown), f"{status} {message}"[:200])

    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        del home
        answer = self._ask("GET", f"/api/jobs/{job}/logs", missing_ok=True)
        return {} if answer is None else {"driver": str(answer.get("logs") or "")}

    def cancel(self, job: str, home: Path) -> None:
        if not self.status(job, home).state.over:
            self._ask("POST", f"/api/jobs/{job}/stop", missing_ok=True)

    def checks(self, launch: Launch) -> Iterator[Check]:
        version = (self._ask("GET", "/api/version") or {}).get("ray_version")
        here = own_versions()["ray"]
        detail = f"{self.options.address} answers, ray {version}"
        fix = f"`ray job submit` of {here} and a cluster of {version} need not understand each other; install the same"
        yield Check("cluster", version == here, detail, fix)
        yield reachable_results(launch, self.options.shared, "launcher.shared")
        if self.options.probe:
            yield self._probe(launch)

    def _probe(self, launch: Launch) -> Check:
        """Run the probe as a job on the cluster's head, and take it away again."""
        job = f"probe-{secrets.token_hex(6)}"
        environment = {k: v for k, v in self.options.runtime_env.items() if k != "working_dir"}
        words = [self.options.python, *PROBE, launch.home]
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:  # others see command lines
            json.dump(environment, file)
            file.flush()
            self._hand_over(self._words(job, f"--runtime-env={file.name}", words))
        try:
            deadline = time.monotonic() + _PROBE_SECONDS
            while not (status := self.status(job, Path())).state.over:
                if time.monotonic() > deadline:
                    free = f"the cluster did not run a short job within {_PROBE_SECONDS:g} s"
                    return Check("environment", False, free, "JobStatus at its dashboard")
                time.sleep(0.5)
            output = "".join(self.logs(job, Path()).values())
            if status.state is not JobState.done:
                why = output.strip().splitlines()[-1:] or [status.detail]
                fix = "Install landsweep there, or give launcher.python or launcher.runtime_env"
                return Check("environment", False, f"`{shlex.join(words)}` fails there: {why[0]}", fix)
            return node_check(output, launch, gpus=0, sees_folder=self.options.shared)
        finally:
            self.cancel(job, Path())
            self._ask("DELETE", f"/api/jobs/{job}", missing_ok=True)

    def _environment(self, launch: Launch) -> dict[str, Any]:
        environment = self.options.runtime_env
        variables = {"PYTHONUNBUFFERED": "1", **environment.get("env_vars", {}), _VARIABLE: launch.text(indent=None)}
        return {**environment, "env_vars": variables}

    def _submission(self, job: str, launch: Launch, environment: Path | None = None) -> list[str]:
        words = [self.options.python, *DRIVER, f"env:{_VARIABLE}"]
        return self._words(job, f"--runtime-env={environment or launch.file(_ENVIRONMENT)}", words)

    def _words(self, job: str, environment: str, words: list[str]) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "ray.scripts.scripts", "job", "submit", "--no-wait", "--log-style=record"),
            *(
                f"--address={self.options.address}",
                f"--submission-id={job}",
                f"--entrypoint-num-cpus={self.options.cpus:g}",
            ),
            *(environment, "--", *words),
        ]

    def _hand_over(self, words: list[str]) -> None:
        shown = ["-m", *words[3:]]
        env = {**os.environ, "RAY_LOG_TO_STDERR": "1"}
        env.pop("RAY_ADDRESS", None)
        try:
            Tool(words[0], "install Python").run(*words[1:], seconds=120, env=env, shown=shown)
        except ToolFailed as e:
            raise NotQueued(
                f"the cluster at {self.options.address} refuses the job, nothing was queued: {e.output}"
            ) from e

    def _ask(self, method: str, path: str, *, missing_ok: bool = False) -> dict[str, Any] | None:
        """A question to the jobs API; None where it does not know the job."""
        url = self.options.address.rstrip("/") + path
        request = urllib.request.Request(url, method=method)
        if token := _token():
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                if e.code == 404 and missing_ok:
                    return None
                if e.code in (401, 403):
                    raise Unreachable(f"{url} needs a token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH") from e
                raise Unreachable(f"{url} answers {e.code}: {e.read().decode(errors='replace')[:300]}") from e
        except (OSError, ValueError) as e:
            raise Unreachable(
                f"no Ray dashboard answers at {self.options.address}: {getattr(e, 'reason', e)}. Is the cluster up, "
                "and its dashboard? From outside, forward the port: ssh -L 8265:127.0.0.1:8265 HEAD"
            ) from e
        if not text.strip():
            return {}
        answer = object_or_none(text)
        if answer is None:
            raise Unreachable(
                f"{url} answers, but with no JSON object ({text.strip()[:80]!r}), so it is no Ray dashboard; correct "
                "launcher.address"
            )
        return answer


def _id(launch: Launch) -> str:
    """The id of a launch's job, which nobody else's has: a cluster may serve many users."""
    return f"{launch.name}-{launch.number:04d}-{launch.file(NONCE_FILE).read_text(encoding='utf-8')[:6]}"


def _without_credentials(value: Any) -> Any:  # noqa: ANN401 - nested JSON
    if isinstance(value, Mapping):
        return {k: _without_credentials(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_credentials(v) for v in value]
    return redacted(value) if isinstance(value, str) else value


def _token() -> str:
    """The token of Ray's clusters, from where Ray itself looks for it."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return ""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
