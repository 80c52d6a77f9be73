"""Sites: *where* a sweep runs and how fast. It changes numbers by rounding at most, so it is no part of an identity."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, SerializeAsAny

from landsweep.orchestrator.assignments import override
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.shipped import shipped_files
from landsweep.orchestrator.spec import Section, parse

__all__ = [
    "LAUNCHERS",
    "SITES",
    "Budgets",
    "EndWhen",
    "LauncherOptions",
    "Site",
    "cores",
    "launcher_type",
    "load_site",
    "parse_site",
    "site_names",
]

LAUNCHERS = (
    "landsweep.launchers"  # entry points: classes whose attribute `options` is a model of the section `launcher`
)
SITES = "landsweep.sites"  # entry points: packages, also without modules, whose YAML files are sites by their names


class Budgets(Section):
    """How often one unit may be lost, by cause, before it is given up."""

    infra: int = Field(20, ge=0, description="worker or node died while it computed only this unit")
    oom: int = Field(3, ge=0, description="memory ran out")
    timeout: int = Field(1, ge=0, description="it went past unit_timeout, or hung for idle_seconds")
    error: int = Field(0, ge=0, description="it raised")
    driver: int = Field(2, ge=0, description="the driver or its Ray died, and only this unit can be the cause")

    def by_cause(self) -> dict[Cause, int]:
        """The same as a mapping."""
        return {cause: int(getattr(self, cause.value)) for cause in Cause}


class EndWhen(Section):
    """What ends a run although units are left; the same command goes on."""

    row: str | None = Field(
        None,
        min_length=1,
        description="a unit of this run ended well with values such as `loss < 0.01 and width == 64`",
    )
    failed: PositiveInt | None = Field(None, description="this many units of this run have failed")
    seconds: PositiveFloat | None = Field(None, description="this run has computed for this long, s")


class LauncherOptions(Section):
    """Base of the section `launcher` of a site: how a job reaches the cluster. Subclasses add fields."""

    type: str = Field(description="name of the launcher")


def _off(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
    """The words that people turn tracking off with; YAML makes `off` and `false` a flag by itself."""
    return False if isinstance(value, str) and value.strip().lower() in ("", "none", "off", "no", "false") else value


def _whole_or_share(gpus: float) -> float:
    """Ray gives a worker whole GPUs or a share of one."""
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"a worker can have a share of one GPU or whole ones, not {gpus:g}; give a whole number")
    return gpus


def cores() -> int:
    """Cores that this process may use; all of the machine where the system does not tell, as macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Site(Section):
    """Executor, workers, resources, limits, tracking."""

    executor: Literal["ray", "local"] = Field("ray", description="ray: actors; local: this process, for debugging")
    address: str = Field(
        "local", description="local: start a private Ray; auto, host:port or ray://host:port: join a running one"
    )
    workers: PositiveInt | Literal["auto"] = Field("auto", description="auto: as many as the cluster holds at any time")
    cpus: float = Field(1, ge=0, description="CPUs of one worker, also a fraction")
    gpus: Annotated[float, AfterValidator(_whole_or_share)] = Field(
        0, ge=0, description="GPUs of one worker, or a share of one GPU and of its memory"
    )
    peak_flops: PositiveFloat | None = Field(
        None, description="FLOP/s that one device can reach, for `mfu`; by default those known for its model"
    )
    mfu: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of `peak_flops` that trainings reach; with both, `plan` forecasts the time on GPUs that "
        "this machine lacks",
    )
    price: PositiveFloat | None = Field(
        None, description="price of one device for an hour, in any currency: `plan` then says what a sweep costs"
    )
    memory_gb: PositiveFloat | None = Field(None, description="memory that Ray reserves for one worker, GB")
    resources: dict[str, PositiveFloat] = Field(default={}, description="custom Ray resources of one worker")
    threads: PositiveInt | None = Field(None, description="threads of one worker; by default its CPUs")
    shard_seconds: PositiveFloat = Field(5, description="how long one shard should take, s")
    unit_timeout: PositiveFloat | None = Field(None, description="not local: kill a unit that is silent for longer, s")
    idle_seconds: PositiveFloat | None = Field(
        900,
        description="not local: a worker that is silent for longer and uses less than 3 % of one core is killed, s; "
        "null: never, for units that wait",
    )
    check_timeout: PositiveFloat | None = Field(
        600,
        description="your own network, data or loss that is silent for longer in the check before the first unit is "
        "ended, s; null: never",
    )
    start_timeout: PositiveFloat = Field(180, description="give up when no worker is ready within this time, s")
    commit_seconds: PositiveFloat = Field(2, description="longest time until rows are on disk, s")
    commit_rows: PositiveInt = Field(32_768, description="or as soon as this many rows wait")
    state_seconds: float = Field(60, ge=0, description="how often long units save a state to resume from, s")
    states_kept: int = Field(
        1,
        ge=1,
        le=100,
        description="how many of its last states a unit keeps; an older one serves if a newer is damaged",
    )
    probe_seconds: float = Field(
        10,
        ge=0,
        description="the first unit is evaluated twice, to compare, unless it took longer than this, s; 0: never",
    )
    shortcuts: bool = Field(
        False,
        description="compute units in faster ways whose numbers agree with the usual ones to rounding; each is "
        "checked against them, and rows say where it was taken",
    )
    budgets: Budgets = Budgets()
    end_when: EndWhen = EndWhen()
    runtime_env: dict[str, Any] = Field(default={}, description="handed to Ray: working_dir, pip, env_vars, ...")
    worker_output: bool = Field(False, description="show what workers print")
    tracking: Annotated[str | Literal[False] | None, BeforeValidator(_off)] = Field(
        None, description="MLflow URI; by default <results>/mlflow.db; off, none or false: no tracking"
    )
    tracking_seconds: float = Field(
        60, ge=0, description="how often tracking is brought up to date while the sweep runs, s; 0: only at its end"
    )
    child_runs: int = Field(
        100, ge=0, description="at most this many units get a run of their own in MLflow, if the kind allows it"
    )
    notify: str | None = Field(
        None,
        description="a command or http(s) address to notify of the first failure, a standstill and the end",
    )
    stall_seconds: PositiveFloat = Field(3600, description="a standstill: no unit has ended for this long, s")
    pdb: bool = Field(False, description="local only: open the debugger where a unit raises")
    launcher: SerializeAsAny[LauncherOptions] | None = Field(None, description="how `landsweep submit` gets there")

    @property
    def capacity(self) -> int | None:
        """How many workers there can be, where that is known without asking a cluster."""
        if self.workers != "auto":
            return self.workers
        alone = self.executor == "local" or self.address == "local"
        if not alone or self.gpus or self.resources or self.memory_gb:
            return None
        return max(1, int(cores() / max(self.cpus, 1e-3)))


def site_names() -> list[str]:
    """Names of the site files that installed packages bring."""
    return sorted(shipped_files(SITES))


def load_site(name: str | None, assignments: Sequence[str] = ()) -> Site:
    """A site by the path of its file or by the name of an installed one.

    Args:
        name: path or name; None: the defaults, a Ray of our own on this machine.
        assignments: `field=value` changes.

    Raises:
        SpecError: no such site, or a field that is unknown or of the wrong type.
    """
    data: dict[str, Any] = {}
    if name is not None:
        path = Path(name)
        if not path.is_file():
            files = shipped_files(SITES)
            if name not in files:
                raise SpecError(f"there is no site {name!r}: give a file, or one of {', '.join(sorted(files))}")
            path = files[name]
        data = read_yaml(path)
    return parse_site(override(data, assignments), f"site {name or '(default)'}")


def parse_site(data: Mapping[str, Any], source: str) -> Site:
    """Data as a site; its section `launcher` is checked by the launcher that it names.

    Raises:
        SpecError: a field is unknown or of the wrong type, or there is no such launcher.
    """
    _refuse_other_addresses(data.get("notify"), source)
    if data.get("launcher") is None:
        return parse(Site, data, source)
    section = data["launcher"]
    if not isinstance(section, Mapping):
        raise SpecError(f"{source}: launcher: give fields, such as {{type: slurm}} (given: {section!r})")
    options = launcher_type(section.get("type"), source).options_type
    return parse(Site, {**data, "launcher": parse(options, section, f"{source}: launcher")}, source)


def _refuse_other_addresses(notify: object, source: str) -> None:
    """An address with another scheme would be run as a command; it may be a secret, so no more of it is shown."""
    scheme = re.match(r"\s*([\w+.-]*:/+)", notify) if isinstance(notify, str) else None
    if scheme is not None and scheme[0] not in ("http://", "https://"):
        raise SpecError(
            f"{source}: notify: an address begins with http:// or https://, and all else is a command (given: an "
            f"address that begins with {scheme[0]!r})"
        )


def launcher_type(name: object, source: str) -> Any:  # noqa: ANN401 - a class of another layer
    """The launcher registered by this name.

    Raises:
        SpecError: there is none.
    """
    launchers = {entry.name: entry for entry in entry_points(group=LAUNCHERS)}
    if name not in launchers:
        raise SpecError(f"{source}: launcher.type: give one of {', '.join(sorted(launchers))} (given: {name!r})")
    return launchers[str(name)].load()
