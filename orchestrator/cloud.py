"""What the errors of an object store mean, and what to do about each; no network, no library."""

from __future__ import annotations

import re

__all__ = ["advice", "reason"]

_CODE = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
_ADDRESS = re.compile(r"Error performing \w+ (https?://[^/\s]+)")

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE (with boto3 installed), or the machine's own role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's own account",
}
_CASES: tuple[tuple[str, str], ...] = (
    (r"NoSuchBucket|bucket does not exist", "there is no such bucket: create it, or correct the address"),
    (
        r"169\.254\.169\.254|169\.254\.170\.2|latest/api/token|latest/meta-data|computeMetadata",
        "no credentials were found; the usual ways are {keys}",
    ),
    (r"ExpiredToken|[Tt]oken.{0,20}expired|RequestExpired", "the credentials have expired: log in again"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|invalid_grant|401 ",
        "these credentials are wrong: {keys}",
    ),
    (r"AccessDenied|AllAccessDisabled|403 ", "these credentials may not do that: list, read, write, delete are needed"),
    (r"PermanentRedirect|AuthorizationHeaderMalformed|301 |Received redirect", "another region: set AWS_REGION"),
    (
        r"error sending request|dns|[Cc]onnection|timed? ?out|error trying to connect",
        "nothing answers there: is the network up, is the address right (AWS_ENDPOINT_URL)?",
    ),
)


def reason(text: str) -> str:
    r"""The short form of an error's text: code and message of the store, or else its first line.

    Example:
        >>> reason("GET failed: 404\n<Error><Code>NoSuchBucket</Code><Message>none here</Message></Error>")
        'NoSuchBucket: none here'
    """
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code:
        return f"{code[1]}: {message[1]}" if message and message[1] else code[1]
    status, address = _STATUS.search(text), _ADDRESS.search(text)
    if status and address:
        return f"{address[1]} answers {status[1].strip()}"
    if address and "error sending request" in text:
        return f"no answer from {address[1]}"
    return text.split("\n", 1)[0].strip()


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
