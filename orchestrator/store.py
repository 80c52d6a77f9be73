"""One folder of a sweep, on disk or in an object store. The only file that imports obstore."""

from __future__ import annotations

import errno
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from orchestrator import cloud
from orchestrator.errors import StorageError, Unreachable, UsageError
from orchestrator.unit import digest

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Store", "is_url"]

_URL = re.compile(r"^([a-z][a-z0-9+.-]*):/+")
_SCHEMES = ("s3", "gs")
_PATIENT = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}  # a store that is slow for a while
_CURIOUS = {"max_retries": 1, "retry_timeout": timedelta(seconds=10)}  # whether it is there at all
_ONE_PUT = 1 << 30  # bytes; a killed upload in parts leaves parts that cost money and that no listing shows
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
        """The folder at a local path, or at a URL: `file:///folder`, `s3://bucket/name`, `gs://bucket/name`.

        Nothing is created or asked for yet. Credentials come from the environment, from an AWS profile where boto3 is
        installed, or from the machine's own role; never from the URL.

        Raises:
            UsageError: no store is known for the URL, it holds credentials, or the path is a file.
        """
        if isinstance(where, str) and (url := _URL.match(where)) and url[1] != "file":
            where = _checked(where)
            return cls(where, None, _opened(where, _PATIENT))
        if isinstance(where, str) and where.startswith("file:"):
            where = unquote(urlsplit(where).path)
        root = Path(where).expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise UsageError(f"{where} is a file; the results of a sweep need a folder")
        return cls(str(where), root, LocalStore(root) if root.is_dir() else None)

    def reach(self) -> None:
        """Make sure within seconds, before any work, that an object store answers and lets us read.

        Raises:
            Unreachable: says why it does not, and what to do.
        """
        if self._root is None:
            try:
                obstore.list_with_delimiter(_opened(self.where, _CURIOUS), "")
            except (BaseError, OSError) as e:
                raise self._unreadable("", e) from e

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
            obstore.put(self._writable(path), path, data, use_multipart=len(data) > _ONE_PUT)
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

    def fetch(self, path: str, cache: Path) -> Path:
        """A file's path on this machine: where it lies, or of a copy in `cache` that is made when there is none yet.

        Raises:
            FileNotFoundError: there is none.
            UsageError: the name leads out of the folder.
            Unreachable: the object store does not answer.
        """
        if self._root is not None:
            _inside(path)
            if not (self._root / path).is_file():
                raise FileNotFoundError(f"{self.where}/{path}")
            return self._root / path
        try:
            found = obstore.get(self._raw, path)  # type: ignore[arg-type] # an object store is always open
            mark = digest([self.where, path, found.meta["e_tag"], found.meta["size"]])
            copy = cache / f"{mark}{Path(path).suffix}"
            if not copy.is_file():
                cache.mkdir(parents=True, exist_ok=True)
                part = copy.with_name(f"{copy.name}.{os.getpid()}")
                with part.open("wb") as file:
                    for chunk in found.stream():
                        file.write(chunk)
                part.replace(copy)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as e:
            raise self._unreadable(path, e) from e
        return copy

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
            _inside(path)
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
        why = _reason(error)
        known = cloud.advice(self._scheme, str(error)) if self._root is None else None
        if known is not None:
            why, until = f"{why}; {known}", "that is mended"
        elif any(word in why for word in _ROOM):
            until = "there is room again"
        elif any(word in why for word in _PERMISSION):
            until = "this user may write there"
        else:
            until = "the storage works again"
        return StorageError(
            f"{self.where}/{path} could not be {done}: {why}. "
            f"All rows committed before are safe; the same command goes on once {until}."
        )

    def _unreadable(self, path: str, error: BaseException) -> StorageError | Unreachable:
        if self._root is not None:
            return StorageError(f"{self.where}/{path} could not be read: {_reason(error)}")
        known = cloud.advice(self._scheme, str(error))
        return Unreachable(f"{self.where}: {_reason(error)}{f'; {known}' if known else ''}")

    @property
    def _scheme(self) -> str:
        return self.where.partition(":")[0]


def is_url(where: str | Path) -> bool:
    """Whether this names an object store, and not a local folder."""
    return isinstance(where, str) and (url := _URL.match(where)) is not None and url[1] != "file"


def _inside(path: str) -> None:
    """Names of files come from rows, and rows may come from anybody."""
    if path.startswith("/") or ".." in path.split("/"):
        raise UsageError(f"{path!r} is no name of a file inside a results folder: where do these rows come from?")


def _checked(where: str) -> str:
    """A URL that can be stored and shown.

    Raises:
        UsageError: it is of another kind, names no bucket, or holds credentials.
    """
    parts = urlsplit(where)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"{shown}: the address of a results folder is kept and shown, so no user, key or option can stand in it; "
            "give credentials by environment variables or a profile (see docs/storage.md)"
        )
    if parts.scheme not in _SCHEMES:
        raise UsageError(f"{shown}: results are kept in a folder, or at file://, s3:// or gs://")
    if not parts.netloc:
        raise UsageError(f"{shown}: no bucket is named; give {parts.scheme}://BUCKET/NAME")
    return shown.rstrip("/")


def _opened(where: str, patience: dict[str, Any]) -> ObjectStore:
    options: dict[str, Any] = {"retry_config": patience, "client_options": {"connect_timeout": timedelta(seconds=5)}}
    if where.startswith("s3:"):
        if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options["client_options"]["allow_http"] = True  # who names such an endpoint means it
        options |= _aws_profile()
    try:
        return from_url(where, **options)
    except (BaseError, ValueError, OSError) as e:
        raise UsageError(f"{where}: no storage can be opened there: {_reason(e)}") from e


def _aws_profile() -> dict[str, Any]:
    """Credentials of AWS's configuration files, single sign-on too: boto3 reads them, the store itself does not."""
    told = os.environ
    files = (
        told.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        told.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    profile = told.get("AWS_PROFILE")
    if "AWS_ACCESS_KEY_ID" in told or not (profile or any(Path(f).expanduser().is_file() for f in files)):
        return {}
    try:
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        if profile is None:
            return {}
        raise UsageError(f"AWS_PROFILE={profile} is read by boto3, which is not installed: pip install boto3") from None
    try:
        return {"credential_provider": Boto3CredentialProvider()}
    except ValueError:  # the files hold no credentials, such as a region only
        return {}
    except BotoCoreError as e:
        raise UsageError(f"AWS_PROFILE={profile}: {e}") from e


def _reason(error: BaseException) -> str:
    """What the operating system or the object store says, in one line."""
    return error.strerror if isinstance(error, OSError) and error.strerror else cloud.reason(str(error))
