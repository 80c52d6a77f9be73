"""What stands under the name of a secret: the name, then a sign or words that say that its value follows.

Names of the first kind, such as `password`, are those of secrets alone. Those of the second, such as `token`, are
also words of networks and parsers, so that in errors they count only where the syntax or the value says more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from landsweep.orchestrator.secret_values import block_end, is_block, value_end

__all__ = ["HIDDEN", "KEY", "is_harmless", "is_secret_name", "looks_random", "without_named"]

HIDDEN = "..."
_AFTER_HIDDEN = ("", *" \n\t,;&\"')]}/<")
_SURE = (
    r"passw(?:or)?ds?|pwd|pass[_ -]?phrases?|passcode|requirepass|masterauth|(?:bind|root|user|db)?pw(?![._-])|jwt"
    r"|(?:private|account|api|master|encryption|signing|ssh|deploy)[ _-]?keys?|(?:github|gitlab|azure|gh|gl)[_-]?pat"
    r"|connection[_-]?string|(?:session|access|refresh)[_-]?token|(?:secret|shared[_-]?access)[ _-]?(?:key|signature)"
    r"|secrets?|credentials?|bearer"
)
_LIKELY = (
    r"(?:(?<![A-Za-z0-9])|db|root|user)pass|token|access[_-]?key(?:[_-]?id)?|auth(?:orization)?|signature|sig"
    r"|cookies?|sas"
)
_OF_ONE = r"(?:value|hash|text|plain|string|str|data|b64|base64|bytes|old|new|confirm(?:ation)?|\d{1,3})"
_NAME = re.compile(
    rf"(?:(?:{_SURE}){_OF_ONE}?|(?:{_LIKELY})(?:(?<=token)\d{{1,2}})?)(?:[._-]{{1,3}}[A-Za-z0-9]+){{0,12}}_{{0,3}}(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_SURELY = re.compile(_SURE, re.IGNORECASE)
_WHOLE = re.compile(r"[A-Za-z0-9._ -]+")
_OF_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
_LONGEST = 300  # characters of a name, and of the words before it that are looked at
_NEAR = 1000  # characters of a value that say whether it is one to hide

_CLOSED = r"(?:\\*+[\"'`])?+"
_ASSIGNED = re.compile(
    rf"{_CLOSED}\]?+(?:\[[\w.-]{{0,20}}\]){{0,3}}+\s{{0,20}}+(?:=>|->|<-|→|:=|!==?|={{1,3}}|:{{1,2}})[^\S\n]*+"
)
_FIELD = r"(?:\\*[\"'])?[\w-]{1,40}+(?:\\*[\"'])?\s?[:=]\s?(?:\\*[\"'])[^\"'\n]{0,100}+[\"'][\s,]{1,50}+"
_VALUE_OF = re.compile(
    rf"{_CLOSED}[\s,]{{1,50}}+(?:{_FIELD}){{0,4}}{_CLOSED}\w{{0,20}}?(?<![a-z])value{_CLOSED}\s*+[=:]\s*+",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\\*+[\"']\s*+,\s*+")
_SPACED = re.compile(r"(?:\s|\\\n){1,200}+")
_TAG = re.compile(r"(?:[\"'][^<>]{0,200}+|\s[^<>]{0,200}+)?>")
_OWN_LINE = re.compile(r"[^\S\n]*+\n[^\S\n]+(?:(?!input_value=)[^\n]){0,2000}+input_value=")  # of pydantic's errors
_SAID = re.compile(  # ` is x`, ` for ann: x`, ` 'x'`
    r"(?:[ \t]++|[ \t]*+\n[ \t]*+)(?:(?:(?:is|was)[ \t]++set[ \t]++to"
    r"|is|was|as|to|by|provided|given|used|equals)[ \t]*+(?:[:=][ \t]*+)?"
    r"|(?:for|of)[ \t]++(?:(?:the[ \t]++)?user[ \t]++)?[\"']?[\w.@-]{1,80}+[\"']?"
    r"[ \t]*+(?:is[ \t]++|was[ \t]++|[:=][ \t]*+)|)",
    re.IGNORECASE,
)
_CHAIN = re.compile(r"[ \t]*+(?:\|[ \t]*+[\w.]++(?:\[[\w., |]*+\])?[ \t]*+){0,5}(?:\+|:=|=(?![=>]))[ \t]*+")
_BEGUN_LINE = re.compile(r"(?:\A|.*\n)[^\S\n]*+(?:- *+|export +)?[\"']?", re.DOTALL)
_WIDE_SIGN = re.compile(r"[\"']?(?:[ \t]*+:[ \t]++|[ \t]++=[ \t]++)")
_BEFORE_PAIR = re.compile(r".*[(\[]\s*[bBrRuU]{0,2}\\*[\"']", re.DOTALL)
_AFTER_PAIR = re.compile(r"\s*+,?\s*+[)\]]")
_BEFORE_OPTION = re.compile(r"(?:\A|.*[\s\"'`(\[=,])", re.DOTALL)
_BEFORE_TAG = re.compile(r".*<(?:[\w.]{1,50}:)?(?:[\w.:-]{1,50}\s[^<>]{0,200}?\b(?:name|key|id)=[\"'])?", re.DOTALL)
_BEFORE_WORD = re.compile(  # words of .netrc, and commands that set variables
    r".*(?:\b(?:machine\s+\S+|default)(?:\s+(?:login|account|user)\s+\S+){0,3}|(?:\A|\s)(?:setenv|ENV|ARG))\s+",
    re.DOTALL,
)
_PARAMETER = re.compile(r".*[?&#;]", re.DOTALL)
_OWN_HEADER = re.compile(r"-*[A-Za-z]+-.*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+")
_WORDS = re.compile(  # what follows the name of an option in a sentence
    r"(?:is|are|was|to|or|and|must|needs?|requires?|not|has|have|with|for|from|can|can't|cannot|option|flag|in|on|at|if)\b"
)

_NUMBER = re.compile(
    r"[-+]?(\d[\d_]*)?(\.\d+)?([eE][-+]?\d+)?|true|false|null|none|None|True|False|\.\.\.|[\[(][\d\s.,]*[\])]"
)
_SHELL = re.compile(  # filled in by a shell: $NAME, ${name}, $(cat file)
    r"\$(?:[A-Z_][A-Z0-9_]{0,60}|[a-z_]{1,60}|\{\w{1,60}\}|\([a-z][\w./-]*(?:\s[^()]*)?\)?)"
)
_NO_SECRETS = ("Bearer", "Basic", "Digest", "YES", "NO")  # `using password: YES`
_SCHEME = re.compile(r"bearer|basic|digest|ntlm|negotiate|kerberos|gssapi|anonymous", re.IGNORECASE)
# Not a word of a sentence, as in `Basic training`, nor the next name of a mapping.
KEY = r"(?=[\w+/.~-]*(?:\d|=|(?-i:[a-z][A-Z])))[A-Za-z0-9+/=._~-]{6,}(?![A-Za-z0-9+/=._~-]|[\"']\s*:)"
_KEY = re.compile(rf"[\"']?{KEY}")
_SOURCE = "    "  # a traceback has source lines behind it
_PASSWORD = re.compile(r"passw(?:or)?d|passphrase", re.IGNORECASE)
_RUN = re.compile(r"[A-Za-z0-9+/=_~-]{8,}+")
_HUMP = re.compile(r"[a-z](?=[A-Z])")
_SWITCH = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")


def is_secret_name(name: str, *, sure: bool = False) -> bool:
    """Whether a name says that its value is a secret; `sure`: and can mean nothing else.

    Example:
        >>> [is_secret_name(n) for n in ("AWS_SECRET_ACCESS_KEY", "api-key", "sig", "tokens", "key", "max_tokens")]
        [True, True, True, False, False, False]
    """
    found = _WHOLE.fullmatch(name) is not None and any(m.end() == len(name) for m in _NAME.finditer(name))
    return found and not (sure and _SURELY.search(name) is None)


def looks_random(text: str) -> bool:
    """Whether a text holds a word that is no word of a language nor a name in a program: letters and digits by turns.

    Example:
        >>> [looks_random(t) for t in ("Zx9kQ2mVt7", "'3f2a9b1c'", "BatchNorm2d", "embed_tokens_v2")]
        [True, True, False, False]
    """
    for run in _RUN.findall(text):
        switches = len(_SWITCH.findall(run))
        if switches > 2 or (switches == 2 and len(_HUMP.findall(run)) > 1):
            return True
    return False


def is_harmless(value: str, *, sure: bool) -> bool:
    """Whether a value is no secret: a shell fills it in, a scheme, yes or no; a number if its name is not `sure`."""
    bare = value.strip("\"'")
    if (_SHELL.fullmatch(bare) and not looks_random(bare)) or bare in _NO_SECRETS:
        return True
    return not sure and (_NUMBER.fullmatch(bare) or _SCHEME.fullmatch(bare)) is not None


class _Name(NamedTuple):
    """Where the name of a secret stands, and what is around it."""

    text: str
    start: int
    end: int
    sure: bool
    strict: bool  # names that are only likely need a telling syntax or value

    @property
    def word(self) -> str:
        return self.text[self.start : self.end]

    @property
    def before(self) -> str:
        return self.text[max(0, self.start - _LONGEST) : self.start]

    def value(self, start: int, *, tells: bool, end: Callable[[str, int], int] = value_end) -> tuple[int, int] | None:
        """The value that begins at `start`; None if it is none to hide, as its beginning says."""
        if self.text.startswith(HIDDEN, start) and self.text[start + 3 : start + 4] in _AFTER_HIDDEN:
            return start, start + 3
        low = max(0, start - _LONGEST)
        near = low + end(self.text[low : start + _NEAR], start - low)
        value = self.text[start:near]
        if start >= near or is_harmless(value, sure=self.sure):
            return None
        hidden = self.sure or tells or not self.strict or looks_random(value)
        return (start, end(self.text, start)) if hidden else None


def without_named(text: str, *, strict: bool) -> str:
    """The text without the values of names of secrets.

    Args:
        text: any.
        strict: names that are only likely those of secrets need a syntax or a value that says more.

    Example:
        >>> without_named("connect(password=SecretStr('a b'), user='ann', token=next(it))", strict=True)
        "connect(password=..., user='ann', token=next(it))"
    """
    pieces, done = [], 0
    for match in _NAME.finditer(text):
        if match.start() < done:
            continue
        before = text[max(done, match.start() - _LONGEST) : match.start()]
        start = match.start() - len(before) + len(before.rstrip(_OF_NAMES))
        name = _Name(text, start, match.end(), _SURELY.search(match[0]) is not None, strict)
        if (place := _value(name)) is not None:
            pieces += [text[done : place[0]], HIDDEN]
            done = place[1]
    return "".join([*pieces, text[done:]])


def _value(name: _Name) -> tuple[int, int] | None:
    """Where the value of a name begins and ends; None if none follows that must be hidden."""
    for find in (_named_value, _in_tag, _of_option, _assigned, _in_pair, _on_own_line, _after_words):
        if (place := find(name)) is not None:
            return place
    return None


def _in_tag(name: _Name) -> tuple[int, int] | None:
    """`<password>x</password>`, `<entry key="password">x</entry>`."""
    text = name.text
    if "<" not in name.before or _BEFORE_TAG.fullmatch(name.before) is None:
        return None
    if (tag := _TAG.match(text, name.end)) is None:
        return None
    start = tag.end()
    end = text.find("</", start, start + 4 * _NEAR)
    if end < 0:
        return name.value(start, tells=True) if name.sure else None
    value = text[start:end]
    return (start, end) if value.strip() and not is_harmless(value, sure=name.sure) else None


def _of_option(name: _Name) -> tuple[int, int] | None:
    """`--password x` and `'--password', 'x'`; with an equals sign it is assigned."""
    if not name.word.startswith("-") or _BEFORE_OPTION.fullmatch(name.before) is None:
        return None
    if (listed := _LISTED.match(name.text, name.end)) is not None:
        return name.value(listed.end(), tells=True, end=_strict_end)
    spaced = _SPACED.match(name.text, name.end)
    if spaced is None or _WORDS.match(name.text, spaced.end()):
        return None
    return name.value(spaced.end(), tells=True, end=value_end if name.sure else _strict_end)


def _named_value(name: _Name) -> tuple[int, int] | None:
    """`{"name": "PASSWORD", "value": "x"}`, `<add key="password" value="x"/>`."""
    sign = _VALUE_OF.match(name.text, name.end)
    return None if sign is None else name.value(sign.end(), tells=True, end=_strict_end)


def _assigned(name: _Name) -> tuple[int, int] | None:
    """`password = x` with any sign, in a line, an address, a mapping, a header or a block of lines."""
    text = name.text
    if (sign := _ASSIGNED.match(text, name.end)) is None:
        return None
    start, parameter = sign.end(), _PARAMETER.fullmatch(name.before) is not None
    if name.sure and is_block(text, start):
        return _below(text, start)
    tells = _tells(name, sign[0], start, parameter=parameter)
    if parameter:
        return name.value(start, tells=tells, end=partial(value_end, kind="parameter"))
    if not name.sure:
        return name.value(start, tells=tells, end=_strict_end)
    alone = _BEGUN_LINE.fullmatch(name.before) is not None and _WIDE_SIGN.fullmatch(text, name.end, start) is not None
    return name.value(start, tells=True, end=partial(_long_end, alone=alone))


def _tells(name: _Name, sign: str, start: int, *, parameter: bool) -> bool:
    """Whether name, sign or value say that a name that is only likely is that of a secret."""
    written = sign.strip(" \t\\\"'`")
    if name.word.startswith("-") or (parameter and written == "=") or _VARIABLE.fullmatch(name.word) is not None:
        return True
    if written == ":" and _OWN_HEADER.fullmatch(name.word) is not None:
        return True
    marked = sign == "=" or (written == ":" and not sign.lstrip().startswith(":"))
    line = name.text.rfind("\n", 0, name.start) + 1
    return marked and not name.text.startswith(_SOURCE, line) and _KEY.match(name.text, start) is not None


def _below(text: str, start: int) -> tuple[int, int] | None:
    """The block of lines below; if nothing is indented, a word alone on the next line that has a digit in it."""
    first = text.find("\n", start)
    if (end := block_end(text, start)) > first:
        return start, end
    line = text[first + 1 :].partition("\n")[0].strip()
    alone = re.fullmatch(r"\S*\d\S*", line) or line[:1] in tuple("\"'[{")
    return (first + 1, max(value_end(text, first + 1), first + 1 + len(line))) if line and alone else None


def _begins(text: str, start: int) -> str:
    """The beginning of a value."""
    return text[start : start + _strict_end(text[start : start + _NEAR], 0)]


def _strict_end(text: str, start: int) -> int:
    return value_end(text, start, kind="strict")


def _long_end(text: str, start: int, *, alone: bool) -> int:
    """The end of a value with what is added or assigned on; alone on its line and not quoted, it is the line's."""
    end = value_end(text, start)
    for _ in range(10):
        if (more := _CHAIN.match(text, end)) is None:
            break
        end = value_end(text, more.end())
    if alone and text[start : start + 1] not in tuple("\"'`([{<$"):
        line = text.find("\n", start)
        return max(end, len(text) if line < 0 else line)
    return end


def _in_pair(name: _Name) -> tuple[int, int] | None:
    """`('password', 'x')`, and a value of a longer list if it looks like a secret."""
    text = name.text
    if (sign := _LISTED.match(text, name.end)) is None:
        return None
    start = sign.end()
    near = len(begins := _begins(text, start))
    pair = _BEFORE_PAIR.fullmatch(name.before) is not None and (
        near == _NEAR or _AFTER_PAIR.match(text, start + near) is not None
    )
    if not pair and not looks_random(begins):
        return None
    return name.value(start, tells=False, end=_strict_end)


def _on_own_line(name: _Name) -> tuple[int, int] | None:
    """What pydantic says of a field: its name, and below why its value is wrong, with the value."""
    text = name.text
    sign = _OWN_LINE.match(text, name.end) if name.sure else None
    if sign is None or text[max(0, name.start - 1) : name.start] not in ("", "\n"):
        return None
    end = text.find(", input_type=", sign.end(), sign.end() + 20_000)
    return sign.end(), value_end(text, sign.end()) if end < 0 else end


def _after_words(name: _Name) -> tuple[int, int] | None:
    """`password x` of .netrc; in sentences, such as `the password is 'x'`, what is quoted or looks like a secret."""
    text = name.text
    if not name.sure:
        return None
    spaced = _SPACED.match(text, name.end)
    if spaced is not None and _BEFORE_WORD.fullmatch(name.before) is not None:
        return name.value(spaced.end(), tells=True)
    if (sign := _SAID.match(text, name.end)) is None:
        return None
    start = sign.end()
    told = text[start : start + 1] in tuple("\"'`") or looks_random(_begins(text, start))
    told = told or (_PASSWORD.search(name.word) is not None and _KEY.match(text, start) is not None)
    return name.value(start, tells=True, end=_strict_end) if told else None
