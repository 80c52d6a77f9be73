"""One folder of a sweep, on disk or in an object store."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from landsweep.orchestrator.addresses import parts_of
from landsweep.orchestrator.errors import LandsweepError, NoRoom, StorageError, Unreachable, UsageError
from landsweep.orchestrator.storage import cloud_errors as cloud
from landsweep.orchestrator.storage.inside import refuse_large, refuse_link, refuse_odd
from landsweep.orchestrator.storage.store import client
from landsweep.orchestrator.storage.store.listing import with_an_end
from landsweep.orchestrator.storage.store.local import STAGED, files_below, has_hard_links, move, odd_name, put_whole
from landsweep.orchestrator.storage.store.places import is_url
from landsweep.orchestrator.unit import digest

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Store"]

T = TypeVar("T")
_ONE_PUT = 1 << 30  # bytes; a killed upload in parts leaves parts that cost money and that no listing shows
_ROOM = ("No space left", "quota", "Quota")
_PERMISSION = ("ermission denied", "Read-only", "not permitted", "AccessDenied", "Forbidden")


class Store:
    """Files of one sweep by relative path. Every write is atomic: a reader sees the old file, the new one, or none.

    Make one with `Store.at`.

    Attributes:
        where: the folder's path or URL.
        under_way: whether work has begun. An object store that fails is `Unreachable` before, `StorageError` after.
    """

    def __init__(self, where: str, root: Path | None) -> None:
        self.where = where
        self.under_way = False
        self._root = root  # of local files only
        self._client = client.Client(where, root)

    @classmethod
    def at(cls, where: str | Path) -> Store:
        """The folder at a local path, or at a URL: `file:///folder`, `s3://bucket/name`, `gs://bucket/name`.

        Nothing is created or asked for yet. Credentials come from the environment, from an AWS profile where boto3 is
        installed, or from the machine's own role; never from the URL.

        Raises:
            UsageError: no store is known for the URL, it holds credentials, or the path is a file.
        """
        if not str(where):
            raise UsageError("the name of the results folder is empty; give one, or `.` for the current folder")
        if is_url(where):
            return cls(cloud.address(str(where)), None)
        if isinstance(where, str) and where.startswith("file:"):
            where = unquote(parts_of(where).path)
        root = Path(where).expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise UsageError(f"{where} is a file; the results of a sweep need a folder")
        return cls(str(where), root)

    def reach(self) -> None:
        """Make sure within seconds, before any work, that an object store lets us read; else `Unreachable` says why."""
        if self._root is None:
            try:
                look = with_an_end(lambda raw: [obstore.list_with_delimiter(raw, "")["objects"]])
                self._client.asked(look, client.LITTLE)
            except (BaseError, OSError) as e:
                raise self._unreadable("", e) from e

    def prove_exclusive(self) -> None:
        """Make sure, before any work, that an object store lets us write, and never twice under one name.

        Raises:
            Unreachable: it can't be written.
            UsageError: it ignores conditions on a write, or has none, so two drivers could not be kept apart.
        """
        if self._root is not None:
            return
        probe = f"probe-{secrets.token_hex(8)}"
        self._created(probe, b"first", client.LITTLE)
        twice = self._created(probe, b"second", client.LITTLE)
        self.delete(probe)
        if twice:
            raise UsageError(
                f"{self.where}: this store ignores the condition `If-None-Match: *` of a write, by which two drivers "
                "are kept apart; use one that honours it (see docs/storage.md)"
            )

    @property
    def path(self) -> Path | None:
        """The local folder, None for object stores."""
        return self._root

    def create(self, path: str, data: bytes | bytearray) -> bool:
        """Write a file unless there is one of that name; True if it was written.

        Of several processes that create the same name, exactly one gets True. On disk the bytes are flushed to the
        device before this returns.

        Raises:
            StorageError: it could not be written.
        """
        return self._created(path, data, client.USUAL)

    def replace(self, path: str, data: bytes | bytearray, *, durable: bool = False, view: bool = False) -> None:
        """Write a file, in place of one of that name.

        Args:
            path: relative to the sweep's folder.
            data: all of its bytes.
            durable: flush it to the device before returning.
            view: whether it can be made again from other files; then a silent object store is not waited for.

        Raises:
            StorageError: it could not be written; a file that was there before is still there.
        """
        try:
            patience = client.LITTLE if view else client.USUAL
            self._write(path, partial(self._put, path, data, anew=False), len(data), patience)
            if durable:
                self._flush(path)
        except (BaseError, OSError) as e:
            raise self._refused(path, e) from e

    def read(self, path: str) -> bytes:
        """All bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            Unreachable: the object store does not answer.
            StorageError: the file can't be read.
            UsageError: it is a pipe or a device, or JSON of more than 64 MiB, or larger than the memory.
        """

        def small(raw: ObjectStore) -> bytes | None:
            file = obstore.get(raw, path)
            refuse_large(f"{self.where}/{path}", file.meta["size"])
            return None if self._root is None and file.meta["size"] > client.SMALL else file.bytes().to_bytes()

        if (root := self._root) is not None and odd_name(path):
            return self._read(path, lambda _: (root / path).read_bytes())
        if (data := self._read(path, small)) is not None:
            return data
        return self._read(path, lambda raw: obstore.get(raw, path).bytes().to_bytes(), client.STREAM)

    def head(self, path: str, length: int) -> bytes:
        """The first bytes of a file, at most this many.

        Raises:
            FileNotFoundError, Unreachable, StorageError, UsageError: as `read`.
        """
        if self._root is not None and odd_name(path):
            return self.read(path)[:length]
        return self._read(path, lambda raw: obstore.get_range(raw, path, start=0, length=length).to_bytes())

    def checksum(self, path: str) -> str:
        """BLAKE2b (16 bytes) of a file, read in pieces.

        Raises:
            FileNotFoundError, Unreachable, StorageError, UsageError: as `read`.
        """

        def digest_of(raw: ObjectStore) -> str:
            state = blake2b(digest_size=16)
            for chunk in obstore.get(raw, path).stream():
                state.update(chunk)
            return state.hexdigest()

        return self._read(path, digest_of, client.STREAM)

    def fetch(self, path: str, cache: Path) -> Path:
        """Path of a file on this machine: its own, or that of a copy in `cache`, which is made if need be.

        Raises:
            FileNotFoundError: there is none.
            UsageError: the name leads out of the folder, or to a pipe or device.
            Unreachable: the object store does not answer.
        """
        if self._root is not None:
            _inside(path)
            refuse_odd(self._root, path)
            if not (self._root / path).is_file():
                raise FileNotFoundError(f"{self.where}/{path}")
            return self._root / path

        def copied(raw: ObjectStore) -> Path:
            source = obstore.get(raw, path)
            identity = digest([self.where, path, source.meta["e_tag"], source.meta["size"]])
            copy = cache / f"{identity}{Path(path).suffix}"
            if not copy.is_file():
                cache.mkdir(parents=True, exist_ok=True)
                part = copy.with_name(f"{copy.name}.{os.getpid()}")
                with part.open("wb") as file:
                    for chunk in source.stream():
                        file.write(chunk)
                part.replace(copy)
            return copy

        return self._read(path, copied, client.STREAM)

    def list(self, folder: str, *, deep: bool = False) -> list[tuple[str, int]]:
        """Names (without the folder) and sizes in bytes of the files in a folder, sorted by name.

        Args:
            folder: relative to the sweep's.
            deep: also those in its folders, as `other/file`; else only those directly in it.

        Raises:
            Unreachable, StorageError: the folder can't be listed.
        """
        try:
            if (root := self._root) is not None:
                return sorted(self._read(folder, lambda _: list(files_below(root, folder, deep=deep))))
            if deep:
                sizes = self._read(folder, with_an_end(lambda raw: obstore.list(raw, folder)))
            else:
                listed = with_an_end(lambda raw: [obstore.list_with_delimiter(raw, folder)["objects"]])
                sizes = self._read(folder, listed)
        except FileNotFoundError:
            return []
        start = len(folder) + 1 if folder else 0
        return sorted((path[start:], size) for path, size in sizes.items())

    def delete(self, path: str) -> None:
        """Delete a file if it exists.

        Raises:
            StorageError: it could not be removed.
        """
        try:
            self._write(path, lambda raw: obstore.delete(raw, path))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as e:
            raise self._refused(path, e, "removed") from e

    def move(self, path: str, to: str) -> None:
        """Rename a file if it exists.

        Raises:
            StorageError: it could not be moved.
        """
        try:
            if (root := self._root) is not None:
                refuse_link(root, Path(path).parent)
            self._write(to, lambda raw: move(root, path, to) if root is not None else obstore.rename(raw, path, to))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as e:
            raise self._refused(path, e, "moved") from e

    def clean(self, *folders: str) -> None:
        """Remove half-written staging files that a kill left behind. Readers never see them as files."""
        if self._root is None:
            return
        for folder in folders:
            directory = self._root / folder
            if folder and directory.is_symlink():
                continue
            for file in directory.iterdir() if directory.is_dir() else ():
                if STAGED.search(file.name):
                    try:
                        file.unlink(missing_ok=True)
                    except OSError as e:
                        raise self._refused(f"{folder}/{file.name}", e, "removed") from e

    def _read(self, path: str, ask: Callable[[ObjectStore], T], patience: client.Patience = client.READ) -> T:
        refuse_odd(self._root, path)
        try:
            return self._client.asked(ask, patience)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as e:
            raise self._unreadable(path, e) from e

    def _write(
        self, path: str, ask: Callable[[ObjectStore], T], size: int = 0, patience: client.Patience = client.USUAL
    ) -> T:
        if self._root is not None:
            _inside(path)
            refuse_link(self._root, Path(path).parent)
            # object_store would retry for ever where a folder can't be made, so make it here.
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            if (self._root / path).is_dir():
                raise StorageError(f"{self._root / path} is a folder, not a file: remove it; the same command goes on")
        return self._client.asked(ask, client.patience_for(size) if size > client.SMALL else patience)

    def _created(self, path: str, data: bytes | bytearray, patience: client.Patience) -> bool:
        end = time.monotonic() + (client.LITTLE if self._client.silent else patience).asking
        while True:
            try:
                if not self._write(path, partial(self._put, path, data, anew=True), len(data), patience):
                    return False
                self._flush(path)
            except AlreadyExistsError as e:
                # S3 answers 409 to colliding writes, and may have carried out none of them.
                if self._there(path):
                    return False
                error = e
            except (BaseError, OSError) as e:
                raise self._refused(path, e) from e
            else:
                return True
            if time.monotonic() > end:
                raise self._refused(path, error) from error
            time.sleep(0.2)

    def _put(self, path: str, data: bytes | bytearray, raw: ObjectStore, *, anew: bool) -> bool:
        """Write a file; False: it should be a new one on disk, and there is one. A store says so by an error."""
        if self._root is not None:
            return put_whole(self._root, path, partial(obstore.put, raw, file=data, use_multipart=False), anew=anew)
        large = len(data) > _ONE_PUT and not anew
        obstore.put(raw, path, data, mode="create" if anew else "overwrite", use_multipart=large)
        return True

    def _there(self, path: str) -> bool:
        try:
            self._read(path, lambda raw: obstore.head(raw, path))
        except FileNotFoundError:
            return False
        return True

    def _flush(self, path: str) -> None:
        """Flush a file to the device: compaction deletes parts once a larger one, which must be safe, replaces them."""
        if self._root is None:
            return
        file = self._root / path
        for target in (file, file.parent):
            handle = os.open(target, os.O_RDONLY)
            try:
                os.fsync(handle)
            except OSError as e:
                if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that can't flush
                    raise
            finally:
                os.close(handle)

    def _refused(self, path: str, error: BaseException, done: str = "written") -> LandsweepError:
        why = _reason(error)
        if self._root is None:
            advice = cloud.advice(self._scheme, str(error))
            why, until = (f"{why}; {advice}", "that is mended") if advice else (why, "the storage works again")
            if not self.under_way:
                return Unreachable(f"{self.where}/{path} could not be {done}: {why}")
        elif any(word in why for word in (*_ROOM, "File too large")):
            until = "there is room again"
        elif not has_hard_links((self._root / path).parent):
            return UsageError(
                f"{self.where} is on a file system without hard links (FAT, exFAT, some network and FUSE mounts), by "
                "which a part is written whole or not at all; give a folder on another file system with --out"
            )
        elif any(word in why for word in _PERMISSION):
            until = "this user may write there"
        else:
            until = "the storage works again"
        return (NoRoom if any(word in why for word in _ROOM) else StorageError)(
            f"{self.where}/{path} could not be {done}: {why}. All rows committed before are safe; the same command "
            f"goes on once {until}, and `landsweep rerun DIR --status failed` computes units that failed by it again."
        )

    def _unreadable(self, path: str, error: BaseException) -> StorageError | Unreachable:
        if self._root is not None:
            return StorageError(f"{self.where}/{path} could not be read: {_reason(error)}")
        advice = cloud.advice(self._scheme, str(error))
        text = f"{self.where}: {_reason(error)}{f'; {advice}' if advice else ''}"
        if not self.under_way:
            return Unreachable(text)
        return StorageError(f"{text}. All rows committed before are safe; the same command goes on once it answers.")

    @property
    def _scheme(self) -> str:
        return self.where.partition(":")[0]


def _inside(path: str) -> None:
    """Refuse a path out of the folder: names of files come from rows, and rows may come from anybody."""
    if path.startswith("/") or ".." in path.split("/"):
        raise UsageError(f"{path!r} is no name of a file inside a results folder: where do these rows come from?")


def _reason(error: BaseException) -> str:
    """What the operating system or the object store says, in one line."""
    return error.strerror if isinstance(error, OSError) and error.strerror else cloud.reason(str(error))
