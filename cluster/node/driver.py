"""The driver of a launched job: `python -m landsweep.cluster.node.driver LAUNCH`.

LAUNCH is a `launch.json`, its URL, or `env:NAME`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from landsweep.cluster.launch import LAUNCH_FILE, PRIVATE, Launch, read_launch
from landsweep.orchestrator.commands.drive import drive
from landsweep.orchestrator.commands.stages import drive_stages
from landsweep.orchestrator.console import err
from landsweep.orchestrator.errors import LandsweepError, UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.stages import STAGES, Stages
from landsweep.orchestrator.site import Site, parse_site
from landsweep.orchestrator.storage.readers import json_object
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.trust import also_search

__all__ = ["load_launch", "main", "private_fields"]


def load_launch(where: str) -> Launch:
    """The launch at a path or URL, or in the environment variable NAME for `env:NAME`.

    Raises:
        UsageError: there is none.
    """
    if where.startswith("env:"):
        name = where.removeprefix("env:")
        if name not in os.environ:
            raise UsageError(f"the environment has no variable {name}, which should hold the launch")
        return read_launch(os.environ[name], name)
    folder, _, name = where.rpartition("/")
    try:
        return read_launch(Store.at(folder or ".").read(name), where)
    except FileNotFoundError as e:
        raise UsageError(
            f"there is no {where}, seen from {Path.cwd()}: the nodes of a job must see the folder of the job"
        ) from e


def private_fields(launch: Launch) -> dict[str, Any]:
    """Fields of the site that may hold credentials."""
    if not launch.private_file:
        return {}
    file = Path(launch.private_file)
    try:
        fields = json_object(file.read_bytes(), str(file))
        return {name: fields[name] for name in PRIVATE if name in fields}
    except OSError as e:
        raise UsageError(
            f"{file} can't be read here ({e.strerror}): it holds tracking and runtime_env of the site, and must be "
            "seen by the user of the job. Submit again with XDG_STATE_HOME on a file system that the nodes share"
        ) from e


def main() -> NoReturn:
    """Run the launch that the first argument names; ends with the exit codes of `landsweep run`."""
    try:
        launch = load_launch(sys.argv[1])
        for folder in (launch.cwd, launch.folder):
            also_search(folder)
        site = parse_site({**launch.site, **private_fields(launch)}, LAUNCH_FILE)
        code = _run_all(launch, site) if launch.kind == STAGES else _run(launch, site)
    except LandsweepError as e:
        err.print_error(e)
        sys.exit(e.exit_code)
    sys.exit(code)


def _run(launch: Launch, site: Site) -> int:
    kind = kind_named(launch.kind)
    spec = kind.parse(launch.spec, LAUNCH_FILE)
    return drive(kind, spec, site, launch.out, Path(launch.folder), command=launch.command)[0]


def _run_all(launch: Launch, site: Site) -> int:
    stages = Stages.thawed(launch.spec, LAUNCH_FILE)
    for stage in stages.stages:
        also_search(stage.folder)
    return drive_stages(stages, site, launch.out, command=launch.command)


if __name__ == "__main__":
    main()
