"""Every error that landsweep raises on purpose.

LandsweepError
├── UsageError              exit 2: what was given, what is allowed, what to do
│   ├── SpecError           a field of a spec or a site
│   ├── SweepMismatch       the results directory holds another spec
│   ├── SweepLocked         another driver is running this sweep
│   ├── Unreachable         a cluster, store or tracking server does not answer
│   ├── Untrusted           a results folder names code, and nobody has said that it may run
│   └── NotDeterministic    the first unit, evaluated twice, gave two results
├── GangBroken              a member of a gang has died; the unit is computed again by another one
├── PreparationFailed       exit 1: what all units need could not be computed
├── DeviceFailed            a worker's accelerator or process is of no more use; it ends, and its units go elsewhere
└── StopSweep               exit 3: stopped, nothing lost, the same command goes on
    ├── StorageError        the results could not be written (no permission)
    │   └── NoRoom          the disk is full; a UsageError too, for so it comes from a worker
    ├── WorkersUnavailable  work is waiting and no worker can come
    │   └── ClusterLost     the Ray of this run, or its one process, is of no more use
    └── TakenOver           another driver holds this sweep now
"""

from __future__ import annotations

import errno

__all__ = [
    "ClusterLost",
    "DeviceFailed",
    "GangBroken",
    "LandsweepError",
    "NoRoom",
    "NotDeterministic",
    "PreparationFailed",
    "SpecError",
    "StopSweep",
    "StorageError",
    "SweepLocked",
    "SweepMismatch",
    "TakenOver",
    "Unreachable",
    "Untrusted",
    "UsageError",
    "WorkersUnavailable",
    "of_files",
    "remade",
    "told",
]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_NO_PLACE = {errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY,
             errno.ELOOP, errno.ENAMETOOLONG}  # fmt: skip


class LandsweepError(Exception):
    """Base of all errors that landsweep raises on purpose; its text is meant for the user."""

    exit_code = 1


class UsageError(LandsweepError):
    """The input can't be used; nothing was started."""

    exit_code = 2


class SpecError(UsageError):
    """A field of a spec or site is unknown, of the wrong type, or does not fit the others."""


class SweepMismatch(UsageError):
    """The results directory belongs to a spec with another identity."""


class SweepLocked(UsageError):
    """A living driver already works on this results directory."""


class Unreachable(UsageError):
    """A cluster, an object store or a tracking server does not answer."""


class Untrusted(UsageError):
    """A results folder names code or files that only its user's word may let in."""


class NotDeterministic(UsageError):
    """Evaluating the same unit twice gave two different results."""


class GangBroken(LandsweepError):
    """A unit that several workers compute together has lost one of them."""


class PreparationFailed(LandsweepError):
    """What all units need could not be computed."""


class DeviceFailed(LandsweepError):
    """A worker's accelerator has failed, or a unit has limited its process for good: the worker has to end."""


class StopSweep(LandsweepError):
    """The sweep stopped before its end; all committed rows are safe and the same command resumes."""

    exit_code = 3


class StorageError(StopSweep):
    """Results could not be written."""


class NoRoom(StorageError, UsageError):
    """There is no room for results. No unit can go on, so workers refuse them, as they refuse input of no use."""


class WorkersUnavailable(StopSweep):
    """Units are waiting, but no worker is alive and none can be started."""


class ClusterLost(WorkersUnavailable):
    """All workers are of no more use: the Ray of this run or the cluster has died, or a unit spoilt its process."""


class TakenOver(StopSweep):
    """Another driver has taken this sweep over; this one must not write any more."""


def of_files(error: OSError) -> LandsweepError | None:
    """What the file system refuses, in words; None for other errors of the system."""
    place = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in _NO_ROOM:
        return StorageError(
            f"{place}{error.strerror}. No row of a sweep is lost; the same command works once it is mended"
        )
    if error.errno in _NO_PLACE:
        return UsageError(f"{place}{error.strerror}. Give another path, or mend this one")
    return None


def told(error: LandsweepError) -> tuple[str, str]:
    """An error for another process: the name of its class here, or of the nearest one, and its text."""
    return next(c.__name__ for c in type(error).__mro__ if c.__module__ == __name__), str(error)


def remade(name: str, text: str) -> LandsweepError:
    """The error that another process has told.

    Raises:
        ValueError: there is none of this name.
    """
    kind = globals().get(name)
    if not (isinstance(kind, type) and issubclass(kind, LandsweepError)):
        raise ValueError(f"there is no error {name!r}")
    return kind(text)
