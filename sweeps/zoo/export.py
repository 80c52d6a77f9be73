"""A zoo as a folder that can be published: Parquet, safetensors, a card. `Zoo` reads it as it reads a sweep."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.inside import check_names, folder_in, no_links, refuse_link
from landsweep.sweeps.lab.trained_models.reader import Member, Zoo
from landsweep.sweeps.zoo.card import write_card

__all__ = ["export_zoo"]

_STAGED = ".unfinished"
_FOLDERS = ("rows", "series")
_MADE = {*_FOLDERS, "weights", "models", "figures", "tables", "card.html", "README.md"}  # moved up before sweep.json
_PRIVATE = ("worker", "attempt", "cause")  # say something about the machine, nothing about the model
_HEAD = ("format", "id", "kind", "kind_version", "name", "fingerprint", "spec", "versions", "git_commit", "created")


def export_zoo(zoo: Zoo, to: Path, *, per_model: bool = False) -> int:
    """Write a zoo as a folder of its own; gives the number of models with weights.

    `sweep.json` and `rows/models.parquet` say what there is, `series/series.parquet` how it was trained, `weights/`
    holds the stacked files, or `models/KEY/LABEL.safetensors` a plain state dict each. README.md is the card.
    After a kill the same call begins again.

    Stacked files are copied whole: of a selection they may hold weights of other models too, which no row names.
    `per_model` writes those of the selection alone.

    Args:
        zoo: a sweep's, or a selection of its models.
        to: a folder that is new or empty.
        per_model: one file per model and checkpoint.

    Raises:
        UsageError: `to` holds something, or the zoo is a published one in another layout.
        Untrusted: a file that would be published is a link: what it leads to need not be meant for that.
    """
    if not zoo.head:
        raise UsageError(f"{zoo.where} is a published zoo in its own layout; only zoos of this project are exported")
    _check_empty(to)
    check_names(zoo.keys, "key of a model", zoo.where)
    if zoo.files.folder is not None:
        for name in ("sweep.json", *_FOLDERS):
            refuse_link(zoo.files.folder, name)
        for name in _FOLDERS:
            no_links(zoo.files.folder / name)
    with _staged(to) as staged:
        _write(zoo, staged, per_model=per_model)
    return len(zoo)


def _check_empty(to: Path) -> None:
    """A folder in which there is nothing, or what an export has left that was killed while it moved its files up.

    Raises:
        UsageError: there is something else.
    """
    if not to.exists():
        return
    names = {entry.name for entry in to.iterdir() if entry.name != _STAGED} if to.is_dir() else {to.name}
    waiting = {entry.name for entry in (to / _STAGED).iterdir()} if (to / _STAGED).is_dir() else set()
    if names and not ("sweep.json" in waiting and names <= _MADE - waiting):
        raise UsageError(f"{to} is not empty; give a new folder with --to")


@contextmanager
def _staged(to: Path) -> Iterator[Path]:
    """A folder in `to` whose files move up once all are written, `sweep.json` last: without it nothing is a zoo.

    Raises:
        UsageError: another export is writing there.
        Untrusted: a link has the place of the folder.
    """
    staged = folder_in(to, _STAGED)
    lock = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # released with this process
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise UsageError(f"another export is writing {to}; wait for it, or give another folder with --to") from e
        if not staged.exists() or not os.path.samestat(os.fstat(lock), staged.lstat()):
            raise UsageError(f"another export has just written {to}; it is there")
        _check_empty(to)  # now that no other export can change it
        for entry in (*staged.iterdir(), *(to / name for name in _MADE)):  # of an export that was killed
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)
        yield staged
        for entry in sorted(staged.iterdir(), key=lambda entry: entry.name == "sweep.json"):
            entry.rename(to / entry.name)
        staged.rmdir()
    finally:
        os.close(lock)


def _write(zoo: Zoo, to: Path, *, per_model: bool) -> None:
    for name in _FOLDERS:
        (to / name).mkdir()
    rows = zoo.rows.drop(columns=[c for c in _PRIVATE if c in zoo.rows])
    if per_model:
        rows = _one_by_one(zoo, rows, to)
    else:
        for file in sorted(set(rows["weights_file"].dropna())):
            if not file.endswith(".safetensors"):
                raise UsageError(f"{zoo.where}: {file!r} is no weight file, and nothing else is exported")
            _refuse_link(zoo, file)
            source = _path_of(zoo, file)
            folder_in(to, Path(file).parent)
            shutil.copyfile(source, to / file, follow_symlinks=False)
    rows.to_parquet(to / "rows" / "models.parquet", index=False)
    zoo.series().to_parquet(to / "series" / "series.parquet", index=False)
    head = {k: v for k, v in zoo.head.items() if k in _HEAD}
    (to / "sweep.json").write_text(json.dumps(head, indent=2), encoding="utf-8")
    write_card(Zoo(to), to)


def _refuse_link(zoo: Zoo, file: str) -> None:
    if zoo.files.folder is not None:
        refuse_link(zoo.files.folder, file)


def _path_of(zoo: Zoo, file: str) -> Path:
    """A weight file on this machine; one in an object store is fetched."""
    try:
        return zoo.files.path(file)
    except FileNotFoundError as e:
        raise UsageError(f"{zoo.where}/{file}: the rows name this weight file, but it is not there") from e


def _one_by_one(zoo: Zoo, rows: pd.DataFrame, to: Path) -> pd.DataFrame:
    """Write a file for each model and checkpoint; gives the rows with their names."""
    places: dict[str, Mapping[str, Any]] = {}
    for member in zoo:
        folder = to / "models" / member.key
        folder.mkdir(parents=True)
        for label in member.labels:
            _refuse_link(zoo, str(member.row["weights_file"]).replace("{label}", label))
            save_file(member.state(label), folder / f"{label}.safetensors", _about(member))
        places[member.key] = {"weights_file": f"models/{member.key}/{{label}}.safetensors"}
    files = [places.get(key, {}).get("weights_file") for key in rows["key"]]
    nothing = dict.fromkeys(("weights_pack", "weights_slot", "weights_checksum"))
    return rows.assign(weights_file=files, **nothing)


def _about(member: Member) -> dict[str, str]:
    shape, outputs = member.shape
    about = [{"shape": list(shape), "outputs": outputs, "keys": [member.key]}]
    return {"format": "landsweep-zoo-1", "packs": json.dumps(about)}
