"""Credentials out of text that is stored or shown: commands, addresses, messages.

What is recognised is removed: users and passwords in URLs, options, assignments, headers and query parameters with the
name of a secret, and keys whose form gives them away. A secret that nothing marks as one can't be found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

__all__ = ["command_line", "holds_credentials", "is_secret_name", "redacted", "redacted_error", "redacted_words"]

_HIDDEN = "..."
_SOURCE = "    "  # a traceback has source lines after it
_SURE = (
    r"passw(?:or)?d|pwd|passphrase|secrets?|credentials?|(?:private|account|api)[_-]?key"
    r"|connection[_-]?string|(?:session|access|refresh)[_-]?token|(?:secret|shared[_-]?access)[_-]?(?:key|signature)|bearer"
)
_LIKELY = r"(?<![A-Za-z0-9])pass|token|access[_-]?key(?:[_-]?id)?|auth(?:orization)?|signature|sig|cookie|sas"
_PARTS = 12  # of a name, before and after what gives it away; without a bound, long texts take hours
_NAME = (
    rf"(?:[A-Za-z0-9]+[._-]){{0,{_PARTS}}}(?:[A-Za-z0-9]*?(?:{_SURE})|[A-Za-z0-9]*?(?:{_LIKELY}))"
    rf"(?:[._-][A-Za-z0-9]+){{0,{_PARTS}}}"
)
_VALUE = r"\"[^\"]*\"|'[^']*'|[^\s\"'&;,}\])]+"
_NUMBER = re.compile(r"[-+]?(\d[\d_]*)?(\.\d+)?([eE][-+]?\d+)?|true|false|null|none|None|True|False|\.\.\.")
_SCHEMES = {"bearer", "basic", "digest", "ntlm", "kerberos"}  # of authorization
_SHELL = re.compile(r"\$(?:\w+|\{\w+\}|\(.*)", re.DOTALL)  # filled in by a shell
_SURELY = re.compile(_SURE, re.IGNORECASE)
_SECRET = re.compile(rf"{_NAME}", re.IGNORECASE)

_USER_OF_URL = re.compile(r"(?<=://)[^/\s?#]*@")
_USER_OF_DATABASE = re.compile(
    r"((?:mysql|mariadb|postgres|postgresql|mssql|oracle|sqlite|mongodb|redis)[\w+]{0,40}://|jdbc:oracle:\w{1,10}:(?!@))"
    r"[^\s@]{0,500}@(?=[^\s@])"
)
_ENCODED = re.compile(r"[^\s\"'<>%]{0,200}(?:%[0-9A-Fa-f]{2}[^\s\"'<>%]*)+")  # a word of an address
_DECODED = 3  # times at most: an address within an address within another one
_ASSIGNED = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>{_NAME})(?P<sign>[\"']?\s*[=:]\s*)(?P<value>{_VALUE})", re.IGNORECASE
)
# A password may hold any sign, and stand in JSON within JSON or in XML: it ends with its quotes or before a blank.
_SURELY_ASSIGNED = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>{_NAME})(?P<sign>(?:\\*[\"'])?\s*[=:]\s*|>)"
    r"(?P<value>\\+\"[^\"]*\"|\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s\"'&]*[^\s\"'&;,}\])])",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?P<name>(?:--?)?[\w.-]+)(?P<sign>=)(?P<value>.*)", re.DOTALL)  # one word of a command line
_OPTION = re.compile(rf"(?P<name>(?<![^\s\"'])--?{_NAME})(?P<sign>\s+|=)(?P<value>{_VALUE})", re.IGNORECASE)
_NOTIFY = re.compile(r"\bnotify\b[\"']?\s*[=:]")
_BEYOND_HOST = re.compile(r"(?<=://)([^/\s?#\"'}]+)[/?#][^\s\"'}]*")  # who knows the address of a chat can write there
_USER_OPTION = re.compile(r"(?<!\S)(-u|--user(?:name)?)(\s+|=)([^\s:]+):(\S+)")
# Not a word of a sentence, as in `Basic training`, nor the next name of a mapping.
_KEY = r"(?=[\w+/.~-]*(?:\d|=|(?-i:[a-z][A-Z])))[A-Za-z0-9+/=._~-]{6,}(?![A-Za-z0-9+/=._~-]|[\"']\s*:)"
_KEY_ASSIGNED = re.compile(  # `auth=cAnArY7`, `{'token': 'cAnArY7'}`
    rf"(?<![A-Za-z0-9])(?P<name>{_NAME})(?P<sign>=[\"']?|[\"']\s*:\s*[\"']?)(?P<value>{_KEY})", re.IGNORECASE
)
_SAID = re.compile(  # `password is cAnArY7`, `passwd cAnArY7`, `['passwd', 'cAnArY7']`
    r"(?<![A-Za-z0-9])(?P<said>(?:passw(?:or)?d|passphrase)(?:[\"'],)?\s+(?:(?:is|was)\s+)?[\"']?)" + _KEY,
    re.IGNORECASE,
)
_LOGIN = re.compile(  # `auth=('ann', 'secret')`, `HTTPBasicAuth("ann", "secret")`
    r"(?P<user>(?:\bauth\s*=\s*|(?:Basic|Digest)Auth)\(\s*(?:\"[^\"]*\"|'[^']*'),\s*)(?:\"[^\"]*\"|'[^']*')",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"\b(?P<scheme>Authorization[\"']?\s*[=:]\s*[\"']?\s*(?:Bearer|Basic|Digest)\\?\s+)[A-Za-z0-9+/=._~-]{6,}"
    rf"|\b(?P<alone>(?:Bearer|Basic)(?:\\?\s+|[\"'],\s*[\"'])){_KEY}",
    re.IGNORECASE,
)
_PAIR = r"=(?:\\*\"[^\"]*\"|[^\s,\"']+)"
_PAIRS = re.compile(  # `Digest username="ann", response="..."`
    r"\b(Digest\s+(?=(?:username|realm|nonce|uri|qop|response|opaque|algorithm|c?nonce|nc)=)|AWS4-HMAC-SHA256\s+)"
    rf"\w+{_PAIR}(?:\s*,\s*\w+{_PAIR})*",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"\b(?P<name>Authorization)(?P<sign>[\"']?\s*:\s*[\"']?)(?P<value>(?:[A-Za-z][\w-]*[ \t]+)?[^\s\"',;]+)",
    re.IGNORECASE,
)
_COOKIE = re.compile(
    r"\b(?P<name>(?:Set-)?Cookie)(?P<sign>[\"']?\s*:\s*[\"']?)(?P<value>[^\s;,\"']+(?:;\s*[^\s;,\"']+)*)", re.IGNORECASE
)
_OWN_HEADER = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>[A-Za-z]+-{_NAME})(?P<sign>[\"']?\s*:\s*)(?P<value>{_VALUE})", re.IGNORECASE
)
_LISTED = re.compile(rf"(?P<name>[\"']--?{_NAME})(?P<sign>[\"'],\s*)(?P<value>\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_PARAMETER = re.compile(rf"(?<=[?&#;])(?P<name>{_NAME})(?P<sign>=)(?P<value>[^\s&\"']+)", re.IGNORECASE)
_VARIABLE = re.compile(rf"\b(?P<name>[A-Z][A-Z0-9]*_[A-Z0-9_]+)(?P<sign>[\"']?\s*[=:]\s*)(?P<value>{_VALUE})")
_FORMS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bhf_[A-Za-z0-9]{16,}|\bsk-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\bdapi[0-9a-f]{32}\b|\bAIza[\w-]{30,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{16,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|\bya29\.[\w-]{20,}"
    r"|(?<=hooks\.slack\.com/services/)[\w/]+|(?<=/api/webhooks/)[\w/-]{16,}|(?<=api\.telegram\.org/bot)[\w:-]{16,}"
    r"|\bdckr_pat_[\w-]{16,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bwhsec_[\w+/=-]{16,}|\bAGE-SECRET-KEY-1[0-9A-Z]{16,}"
    r"|\beyJ[\w-]{8,4096}\.[\w-]{8,4096}\.[\w-]*",
    re.DOTALL,
)


def is_secret_name(name: str) -> bool:
    """Whether a name says that its value is a secret.

    Example:
        >>> [is_secret_name(n) for n in ("AWS_SECRET_ACCESS_KEY", "api-key", "sig", "tokens", "key", "max_tokens")]
        [True, True, True, False, False, False]
    """
    return _SECRET.fullmatch(name) is not None


def redacted(text: str) -> str:
    """The text, also an address, without credentials: fit to be stored and shown.

    Example:
        >>> redacted("mlflow at https://ann:pw@host/x?sig=abc --password hunter2")
        'mlflow at https://host/x?sig=... --password ...'
    """
    return _redacted(_decoded(text, _redacted))


def _redacted(text: str) -> str:
    text = _without_known_forms(text)
    text = _USER_OPTION.sub(rf"\1\2\3:{_HIDDEN}", text)
    text = _SURELY_ASSIGNED.sub(_if_surely, text)
    for pattern in (_AUTHORIZATION, _ASSIGNED, _OPTION):
        text = pattern.sub(_without_value, text)
    return text


def redacted_error(text: str) -> str:
    """An error's text without credentials in addresses, headers, options and variables, and without known forms.

    Source lines of tracebacks stay: networks have many a `token = ...` that is no secret. Passwords are none of theirs.
    In other lines `auth=` and `token=` lose what looks like a key: six signs or more with a digit, `=` or aB.

    Example:
        >>> redacted_error("token = embed(x)  # of https://ann:pw@host/?sig=abc and MY_TOKEN=abc, X-Api-Key: abc")
        'token = embed(x)  # of https://host/?sig=... and MY_TOKEN=..., X-Api-Key: ...'
    """
    return _redacted_error(_decoded(text, _redacted_error))


def _redacted_error(text: str) -> str:
    text = _without_known_forms(text)
    text = _USER_OPTION.sub(rf"\1\2\3:{_HIDDEN}", text)
    text = _SURELY_ASSIGNED.sub(_if_surely, text)
    for pattern in (_AUTHORIZATION, _COOKIE, _OWN_HEADER, _OPTION, _LISTED, _PARAMETER):
        text = pattern.sub(_without_value, text)
    text = _VARIABLE.sub(lambda m: _without_value(m) if is_secret_name(m["name"]) else m[0], text)
    return "\n".join(
        line if line.startswith(_SOURCE) else _KEY_ASSIGNED.sub(_without_value, line) for line in text.split("\n")
    )


def _without_known_forms(text: str) -> str:
    """The text without tokens of known forms, users of addresses, and headers of authorization."""
    text = _FORMS.sub(_HIDDEN, text)
    text = _USER_OF_DATABASE.sub(r"\1", text)
    text = _USER_OF_URL.sub("", text)
    text = _PAIRS.sub(rf"\1{_HIDDEN}", text)
    text = _LOGIN.sub(rf"\g<user>{_HIDDEN}", text)
    text = _SAID.sub(rf"\g<said>{_HIDDEN}", text)
    return _HEADER.sub(lambda m: f"{m['scheme'] or m['alone']}{_HIDDEN}", text)


def _decoded(text: str, remove: Callable[[str], str]) -> str:
    """The text, in which percent-encoded words that hold a credential are decoded, and without it."""

    def plain(match: re.Match[str]) -> str:
        word = match[0]
        for _ in range(_DECODED):
            if (word := unquote(word)) != (removed := remove(word)):
                return removed
        return match[0]

    return _ENCODED.sub(plain, text)


def _if_surely(match: re.Match[str]) -> str:
    return _without_value(match) if _SURELY.search(match["name"]) else match[0]


def _without_value(match: re.Match[str]) -> str:
    bare = match["value"].strip("\"'")
    harmless = _NUMBER.fullmatch(bare) is not None and not _SURELY.search(match["name"])
    if harmless or bare.lower() in _SCHEMES or _SHELL.fullmatch(bare) is not None:
        return match[0]
    return f"{match['name']}{match['sign']}{_HIDDEN}"


def redacted_words(words: Sequence[str]) -> list[str]:
    """The words of a command line without credentials and without environment variables of `site.runtime_env`."""
    plain: list[str] = []
    for word in words:
        before = plain[-1] if plain else ""
        option = before.startswith("-") and "=" not in before and is_secret_name(before.lstrip("-"))
        if (option and word[:1] != "-") or _SAID.fullmatch(f"{before} {word}") is not None:
            plain.append(_HIDDEN)
        elif before in ("-u", "--user", "--username") and ":" in word:
            plain.append(f"{word.partition(':')[0]}:{_HIDDEN}")
        elif (named := re.match(r"((?:site\.)?(?:launcher\.)?runtime_env[^=]*)=", word)) is not None:
            plain.append(f"{named[1]}={_HIDDEN}")
        elif (whole := _WORD.fullmatch(word)) is not None and is_secret_name(whole["name"].lstrip("-")):
            plain.append(_without_value(whole))
        else:
            plain.append(redacted(_BEYOND_HOST.sub(rf"\1/{_HIDDEN}", word) if _NOTIFY.search(word) else word))
    return plain


def command_line() -> list[str]:
    """The words of this command, fit to be stored and shown: without credentials and environment variables."""
    return redacted_words(sys.argv[1:])


def holds_credentials(value: Any) -> bool:  # noqa: ANN401 - nested YAML
    """Whether nested data holds anything that `redacted` would remove, in a text or under the name of a secret."""
    if isinstance(value, Mapping):
        return any(
            (is_secret_name(str(k)) and isinstance(v, str) and redacted(f"{k}={v}") != f"{k}={v}")
            or holds_credentials(v)
            for k, v in value.items()
        )
    if isinstance(value, list | tuple):
        return any(map(holds_credentials, value))
    return isinstance(value, str) and redacted(value) != value
