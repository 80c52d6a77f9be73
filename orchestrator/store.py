"""One folder of a sweep, on disk or in an object store. The only file that imports obstore."""

from __future__ import annotations

import errno
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from orchestrator.errors import StorageError, Unreachable, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Store"]

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://")
_STAGED = re.compile(r"#\d+$")  # object_store writes `name#1`, then links or renames it to `name`
_ROOM = ("No space left", "quota", "Quota", "File too large")
_PERMISSION = ("ermission denied", "Read-only", "not permitted", "AccessDenied", "Forbidden")


class Store:
    """Files of one sweep by relative path. Every write is atomic: a reader sees the old file, the new one, or none.

    Make one with `Store.at`.
    """

    def __init__(self, where: str, root: Path | None, raw: ObjectStore | None) -> None:
        self.where = where
        self._root = root  # of local files only
        self._raw = raw  # None: a local folder that is not there yet

    @classmethod
    def at(cls, where: str | Path) -> Store:
        """The folder at a local path, or at a URL such as `s3://bucket/name` or `gs://bucket/name`.

        Nothing is created or asked for yet.

        Raises:
            UsageError: no store is known for the URL, or the path is a file.
        """
        if isinstance(where, str) and where.startswith("file://"):
            where = where.removeprefix("file://")
        if isinstance(where, str) and _URL.match(where):
            try:
                patience = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
                return cls(where.rstrip("/"), None, from_url(where, retry_config=patience))  # type: ignore[call-overload]
            except (BaseError, ValueError, OSError) as e:
                raise UsageError(f"{where}: no storage can be opened there: {_reason(e)}") from e
        root = Path(where).expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise UsageError(f"{where} is a file; the results of a sweep need a folder")
        return cls(str(where), root, LocalStore(root) if root.is_dir() else None)

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
        try:
            obstore.put(self._writable(path), path, data, mode="create", use_multipart=False)
            self._flush(path)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as e:
            raise self._refused(path, e) from e
        return True

    def replace(self, path: str, data: bytes | bytearray, *, durable: bool = False) -> None:
        """Write a file, in place of one of that name.

        Args:
            path: relative to the sweep's folder.
            data: all of its bytes.
            durable: flush it to the device before returning.

        Raises:
            StorageError: it could not be written; a file that was there before is still there.
        """
        try:
            obstore.put(self._writable(path), path, data)
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
        """
        raw = self._readable()
        if raw is None:
            raise FileNotFoundError(f"{self.where}/{path}")
        try:
            return obstore.get(raw, path).bytes().to_bytes()
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as e:
            raise self._unreadable(path, e) from e

    def list(self, folder: str) -> list[tuple[str, int]]:
        """Names (without the folder) and sizes in bytes of the files directly in a folder, sorted by name.

        Raises:
            Unreachable, StorageError: the folder can't be listed.
        """
        raw = self._readable()
        if raw is None:
            return []
        try:
            found = obstore.list_with_delimiter(raw, folder)["objects"]
        except FileNotFoundError:
            return []
        except (BaseError, OSError) as e:
            raise self._unreadable(folder, e) from e
        return sorted((str(f["path"]).rsplit("/", 1)[-1], int(f["size"])) for f in found)

    def delete(self, path: str) -> None:
        """Remove a file; no matter if it is gone already.

        Raises:
            StorageError: it could not be removed.
        """
        try:
            obstore.delete(self._writable(path), path)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as e:
            raise self._refused(path, e, "removed") from e

    def move(self, path: str, to: str) -> None:
        """Rename a file; no matter if it is gone already.

        Raises:
            StorageError: it could not be moved.
        """
        try:
            obstore.rename(self._writable(to), path, to)
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
            for file in directory.iterdir() if directory.is_dir() else ():
                if _STAGED.search(file.name):
                    try:
                        file.unlink(missing_ok=True)
                    except OSError as e:
                        raise self._refused(f"{folder}/{file.name}", e, "removed") from e

    def _readable(self) -> ObjectStore | None:
        if self._raw is None and self._root is not None and self._root.is_dir():
            self._raw = LocalStore(self._root)
        return self._raw

    def _writable(self, path: str) -> ObjectStore:
        if self._root is not None:
            # object_store would retry for ever where a folder can't be made, so make it here.
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
        raw = self._readable()
        if raw is None:
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(self._root))
        return raw

    def _flush(self, path: str) -> None:
        """Compaction deletes parts because a bigger one holds them: that one must not be only in the page cache."""
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

    def _refused(self, path: str, error: BaseException, done: str = "written") -> StorageError:
        reason = _reason(error)
        if any(word in reason for word in _ROOM):
            until = "there is room again"
        elif any(word in reason for word in _PERMISSION):
            until = "this user may write there"
        else:
            until = "the storage works again"
        return StorageError(
            f"{self.where}/{path} could not be {done}: {reason}. "
            f"All rows committed before are safe; the same command goes on once {until}."
        )

    def _unreadable(self, path: str, error: BaseException) -> StorageError | Unreachable:
        kind = Unreachable if self._root is None else StorageError
        return kind(f"{self.where}/{path} could not be read: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """The first line of obstore's message, or what the operating system says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).split("\n", 1)[0].strip()
