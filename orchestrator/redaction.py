"""Credentials out of text that is stored or shown: commands, addresses, messages.

What is recognised is removed: users and passwords in URLs, headers and options, keys whose form gives them away, and
what stands under the name of a secret (`named_secrets`). A secret that nothing marks as one can't be found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from landsweep.orchestrator.named_secrets import HIDDEN, KEY, is_harmless, is_secret_name, looks_random, without_named
from landsweep.orchestrator.secret_values import value_end

__all__ = ["command_line", "holds_credentials", "redacted", "redacted_error", "redacted_notifier", "redacted_words"]

_ESCAPES = re.compile(  # colours, links and the like, also as `repr` writes them; their last letter would join a word
    r"(?:\x1b\[|\x9b|\\+(?:x1b|033|u001b|e)\[)[0-?]{0,50}[ -/]{0,5}[@-~]"
    r"|\x1b\][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)|\x1b(?:[ -/]{1,5}[0-~]|[0-?])"
)
_USER_OF_URL = re.compile(  # a password may also hold signs that an address must not
    r"(?<=://)(?:[^/\s?#]*@"
    r"|(?<!ssh://)[^/\s?#:@\[\"']{0,100}:(?!\d{1,5}(?:[/?#\s\"']|\Z))[^\s@\"'<>]{1,500}@(?=[A-Za-z0-9\[]))"
)
_USER_OF_HOST = re.compile(r"(?<![\w/:.@%+-])([\w.+-]{1,64}:)([^\s@/\"'<>:]{8,200})(?=@(?!sha\d)[A-Za-z0-9])")
_USER_OF_DATABASE = re.compile(
    r"((?:mysql|mariadb|postgres|postgresql|mssql|oracle|sqlite|mongodb|redis)[\w+]{0,40}://|jdbc:oracle:\w{1,10}:(?!@))"
    r"[^\s@]{0,500}@(?=[^\s@])"
)
_ENCODED = re.compile(r"[^\s\"'<>%]{0,200}(?:%[0-9A-Fa-f]{2}[^\s\"'<>%]*)+")  # a word of an address
_DECODED = 3  # times at most: an address within an address within another one
_WORD = re.compile(r"(?P<name>(?:--?)?[\w.-]+)=(?P<value>.*)", re.DOTALL)  # one word of a command line
_NOTIFY = re.compile(r"\bnotify\b[\"']?\s*[=:]")
_BEYOND_HOST = re.compile(r"(?<=://)([^/\s?#\"'}]+)[/?#][^\s\"'}]*")  # who knows the address of a chat can write there
_USER_OPTION = re.compile(  # of curl and others: `-u ann:x`, `-u :x`, `-uann:x`, `--user=ann:x`, `'-u', 'ann:x'`
    r"(?<![\w-])(?:-u|--(?:proxy-)?user(?:name)?)(?:(?:\\*[\"'])?\s*,\s*[bru]?|\s+|=|)"
    r"(?P<quote>\\*[\"']|)[^\s:\"'=/]{0,100}:(?!//)(?=[^\s\"',])"
)
_PASSWORD_OPTION = re.compile(  # `sshpass -p x`, `mysql -px`, `docker login -p x`
    r"\b(?:sshpass|mysql\w{0,10}|mariadb[\w-]{0,10}|(?:docker|podman|nerdctl|oras|skopeo|helm)\b[^\n;|&]{0,40}?\blogin)\b"
    r"[^\n;|&]{0,200}?(?<![\w-])-p(?:(?:\\*[\"'])?\s*,\s*[bru]?|\s*)(?P<quote>\\*[\"']|)(?=[^\s\"',])"
)
_LOGIN = re.compile(  # `auth=('ann', 'secret')`, `HTTPBasicAuth("ann", "secret")`
    r"(?:\bauth\s{0,20}=\s{0,20}|(?:Basic|Digest)Auth)\(\s{0,20}[bruf]{0,2}(?:\"[^\"]*\"|'[^']*'),\s{0,20}(?P<quote>)(?=[bruf]{0,2}[\"'])",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"\b(?P<scheme>Authorization[\"']?\s*[=:]\s*[\"']?\s*(?:Bearer|Basic|Digest)\\?\s+)[A-Za-z0-9+/=._~-]{6,}"
    r"|(?<=[\"'])(?P<quoted>Bearer\\?\s+)[A-Za-z0-9+/=._~-]{6,}(?=\\*[\"'])"
    rf"|\b(?P<alone>(?:Bearer|Basic)(?:\\?\s+|[\"'],\s*[\"'])){KEY}",
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
_ARGUMENT = re.compile(  # of argparse: `argument -p/--password: invalid int value: 'secret'`
    r"(\bargument ([\w/, -]{1,200})[^\n:]{0,100}: invalid [^\n:]{1,100}: )[^\n]+"
)
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


def redacted(text: str) -> str:
    """The text, also an address, without credentials: fit to be stored and shown.

    Example:
        >>> redacted("mlflow at https://ann:pw@host/x?sig=abc --password hunter2")
        'mlflow at https://host/x?sig=... --password ...'
    """
    return _seen_through(text, _redacted)


def _seen_through(text: str, remove: Callable[[str], str]) -> str:
    """The text without credentials; its escape sequences stay if they hide none."""
    plain = _ESCAPES.sub("", text)
    removed = remove(_decoded(plain, remove))
    return removed if removed != plain or plain == text else remove(_decoded(text, remove))


def _redacted(text: str) -> str:
    text = _AUTHORIZATION.sub(_without_value, _without_known_forms(text))
    return without_named(text, strict=False)


def redacted_error(text: str) -> str:
    """An error's text without credentials in addresses, headers, options and variables, and without known forms.

    Source lines of tracebacks stay: networks have many a `token = ...` that is no secret. Passwords are none of theirs.
    In other lines `auth=` and `token=` lose what looks like a key: six signs or more with a digit, `=` or aB.

    Example:
        >>> redacted_error("token = embed(x)  # of https://ann:pw@host/?sig=abc and MY_TOKEN=abc, X-Api-Key: abc")
        'token = embed(x)  # of https://host/?sig=... and MY_TOKEN=..., X-Api-Key: ...'
    """
    return _seen_through(text, _redacted_error)


def _redacted_error(text: str) -> str:
    text = _without_known_forms(text)
    for pattern in (_AUTHORIZATION, _COOKIE):
        text = pattern.sub(_without_value, text)
    return without_named(text, strict=True)


def _of_argument(match: re.Match[str]) -> str:
    names = (word.lstrip("-") for word in re.split("[/, ]+", match[2]))
    return f"{match[1]}{HIDDEN}" if any(map(is_secret_name, names)) else match[0]


def _without_known_forms(text: str) -> str:
    """The text without tokens of known forms, users of addresses and options, and headers of authorization."""
    text = _FORMS.sub(HIDDEN, text)
    text = _ARGUMENT.sub(_of_argument, text)
    text = _USER_OF_DATABASE.sub(r"\1", text)
    text = _USER_OF_URL.sub("", text)
    text = _USER_OF_HOST.sub(lambda m: m[1] + HIDDEN if looks_random(m[2]) else m[0], text)
    text = _PAIRS.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(lambda m: f"{m['scheme'] or m['quoted'] or m['alone']}{HIDDEN}", text)
    for before in (_USER_OPTION, _PASSWORD_OPTION, _LOGIN):
        text = _without_words(text, before)
    return text


def _without_words(text: str, before: re.Pattern[str]) -> str:
    """The text without the words that follow a pattern; with its group `quote` they are quoted."""
    pieces, done = [], 0
    for match in before.finditer(text):
        if match.start() < done:
            continue
        quoted = len(match["quote"]) > 0
        end = value_end(text, match.start("quote") if quoted else match.end())
        end -= len(match["quote"]) if quoted and text[:end].endswith(match["quote"]) else 0
        pieces += [text[done : match.end()], HIDDEN]
        done = max(end, match.end())
    return "".join([*pieces, text[done:]])


def _decoded(text: str, remove: Callable[[str], str]) -> str:
    """The text, in which percent-encoded words that hold a credential are decoded, and without it."""

    def plain(match: re.Match[str]) -> str:
        word = match[0]
        for _ in range(_DECODED):
            if (word := unquote(word)) != (removed := remove(word)):
                return removed
        return match[0]

    return _ENCODED.sub(plain, text)


def _without_value(match: re.Match[str]) -> str:
    return match[0] if is_harmless(match["value"], sure=False) else f"{match['name']}{match['sign']}{HIDDEN}"


def redacted_notifier(text: str) -> str:
    """What `site.notify` names, or what was said of it, without credentials; of addresses the host is kept.

    Example:
        >>> redacted_notifier("curl -u :hunter2 https://chat.example/hook/abc")
        'curl -u :... https://chat.example/...'
    """
    return redacted(_BEYOND_HOST.sub(rf"\1/{HIDDEN}", text))


def redacted_words(words: Sequence[str]) -> list[str]:
    """The words of a command line without credentials and without environment variables of `site.runtime_env`."""
    plain: list[str] = []
    for word in words:
        before = plain[-1] if plain else ""
        secret = before.startswith("-") and "=" not in before and is_secret_name(before.lstrip("-"))
        option = word.startswith("-") and is_secret_name(word.lstrip("-"))
        said = before[:1] not in ("", "-") and redacted(f"{before} {word}") == f"{before} {HIDDEN}"
        if (secret and not option) or said:
            plain.append(HIDDEN)
        elif before in ("-u", "--user", "--username", "--proxy-user") and ":" in word:
            plain.append(f"{word.partition(':')[0]}:{HIDDEN}")
        elif (named := re.match(r"((?:site\.)?(?:launcher\.)?runtime_env[^=]*)=", word)) is not None:
            plain.append(f"{named[1]}={HIDDEN}")
        elif (whole := _WORD.fullmatch(word)) is not None and is_secret_name(whole["name"].lstrip("-")):
            sure = is_secret_name(whole["name"], sure=True)
            plain.append(word if is_harmless(whole["value"], sure=sure) else f"{whole['name']}={HIDDEN}")
        else:
            plain.append(redacted_notifier(word) if _NOTIFY.search(word) else redacted(word))
    return plain


def command_line() -> list[str]:
    """The words of this command, fit to be stored and shown: without credentials and environment variables."""
    return redacted_words(sys.argv[1:])


def holds_credentials(value: Any) -> bool:  # noqa: ANN401 - nested YAML
    """Whether nested data holds anything that `redacted` would remove, in a text or under the name of a secret."""
    if isinstance(value, Mapping):
        return any(
            (is_secret_name(str(k)) and any(redacted(f"{k}={x}") != f"{k}={x}" for x in _texts(v)))
            or holds_credentials(v)
            for k, v in value.items()
        )
    if isinstance(value, list | tuple):
        return any(map(holds_credentials, value))
    return isinstance(value, str) and redacted(value) != value


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - nested YAML
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)
