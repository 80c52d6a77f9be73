"""Texts that want to be more than text, and what a browser would make of a page that holds them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

HOSTILE = (
    '"><evil onload="evil()">',
    "</style></script></pre></title><evil>",
    "<script>evil()</script><img src=evil onerror=evil()>",
    "![evil](javascript:evil)[evil](https://evil.example)<https://evil.example> https://evil.example www.evil.example",
    "```\n# evil\n- evil\n<evil>\n```\n\n| evil | `evil` |\n|---|---|\n\x1b[31m\x9b\u202eevil",
    "' onmouseover='evil()' \\\\<evil>\\ &lt;evil&gt; {{ evil }} {% evil %} $evil$",
)
FREE = {"alt", "title"}  # attributes that hold text
OURS = re.compile(r"(figures/|tables/|plot-)?[A-Za-z0-9._-]+")  # what is left of a name in a link or an anchor


class Elements(HTMLParser):
    """What a browser would make elements and attributes of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.evil: list[str] = []
        self.text = ""
        self._scripts = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        bad = "evil" in tag or any("evil" in k or k.startswith("on") for k in given)
        bad |= any("evil" in v and not OURS.fullmatch(v) for k, v in given.items() if k not in FREE)
        self._scripts += tag == "script"
        if bad:
            self.evil.append(str(self.get_starttag_text()))

    def handle_endtag(self, tag: str) -> None:
        self._scripts -= tag == "script"

    def handle_comment(self, data: str) -> None:
        if "evil" in data:
            self.evil.append(data)

    def handle_data(self, data: str) -> None:
        if not self._scripts:
            self.text += data


def said(text: str, x: float = 0.0) -> dict[str, object]:
    """A unit that gives its text back, or fails with it."""
    if x > 1:
        raise ValueError(text)
    return {"loss": x, "told": text}
