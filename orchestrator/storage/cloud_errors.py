"""Addresses of object stores; what their errors mean, and what to do about each. No network, no library."""

from __future__ import annotations

import re

from landsweep.orchestrator.addresses import parts_of
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.redaction import redacted

__all__ = ["address", "advice", "broke_off", "reason"]

_SCHEMES = ("s3", "gs")

_CODE = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
_ADDRESS = re.compile(r"Error performing \w+ (https?://[^/\s]+)")

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE (with boto3 installed), or the machine's own role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's own account",
}
_CASES: tuple[tuple[str, str], ...] = (
    (
        r"501 |NotImplemented",
        "this store has no conditional writes (`If-None-Match: *`), by which drivers are kept apart: use another",
    ),
    (r"NoSuchBucket|bucket does not exist", "there is no such bucket: create it, or correct the address"),
    (
        r"169\.254\.169\.254|169\.254\.170\.2|latest/api/token|latest/meta-data|computeMetadata",
        "no credentials were found; the usual ways are {keys}",
    ),
    (r"RequestTimeTooSkewed", "the clock of this machine is too far from the store's: set it right"),
    (r"ExpiredToken|[Tt]oken.{0,20}expired|RequestExpired", "the credentials have expired: log in again"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|invalid_grant|401 ",
        "these credentials are wrong: {keys}",
    ),
    (r"AccessDenied|AllAccessDisabled|403 ", "these credentials may not do that: list, read, write, delete are needed"),
    (r"PermanentRedirect|AuthorizationHeaderMalformed|301 |Received redirect", "another region: set AWS_REGION"),
    (
        r"error sending request|dns|[Cc]onnection|(?<!retry_)timed? ?out|error trying to connect",
        "nothing answers there: is the network up, is the address right (AWS_ENDPOINT_URL)?",
    ),
)


def address(where: str) -> str:
    """A URL of an object store that can be kept and shown, without a slash at its end.

    Raises:
        UsageError: it is of another kind, names no bucket, or holds credentials.
    """
    parts = parts_of(where)
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


def reason(text: str) -> str:
    r"""The short form of an error's text: code and message of the store, or else its first line.

    Example:
        >>> reason("GET failed: 404\n<Error><Code>NoSuchBucket</Code><Message>none here</Message></Error>")
        'NoSuchBucket: none here'
    """
    text = redacted(text)  # an address of AWS_ENDPOINT_URL may hold a password
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code:
        return f"{code[1]}: {message[1]}" if message and message[1] else code[1]
    status, address = _STATUS.search(text), _ADDRESS.search(text)
    if status and address:
        return f"{address[1]} answers {status[1].strip()}"
    if address and "error sending request" in text:
        return f"no answer from {address[1]}"
    return text.split("\n", 1)[0].strip()


def broke_off(text: str) -> bool:
    """Whether a request got no answer, or half of one, or came too slowly: it may do better next time.

    Args:
        text: of the error.
    """
    return "HTTP error: " in text or "<Code>RequestTimeout</Code>" in text


def advice(scheme: str, text: str) -> str | None:
    """What to do about an error of an object store; None for one that is not known.

    Args:
        scheme: s3 or gs.
        text: of the error.

    Example:
        >>> advice("s3", "403 Forbidden: <Code>ExpiredToken</Code>")
        'the credentials have expired: log in again'
    """
    for pattern, what in _CASES:
        if re.search(pattern, text):
            return what.format(keys=_KEYS[scheme])
    return None
