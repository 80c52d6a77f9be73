"""Shell scripts from the templates of this package, which hold @@NAME for each text that differs from job to job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from string import Template

__all__ = ["filled", "script"]


class _Script(Template):
    """With a mark that no shell uses."""

    delimiter = "@@"
    idpattern = "[A-Z]+"
    flags = re.NOFLAG  # capital letters only; `Template` would ignore case


def script(name: str, texts: Mapping[str, str]) -> str:
    """The template of this name with its texts.

    Args:
        name: of a file in `cluster/templates`.
        texts: what to insert, by the name of its place in the template.
    """
    return filled((resources.files("landsweep.cluster") / "templates" / name).read_text(encoding="utf-8"), texts)


def filled(template: str, texts: Mapping[str, str]) -> str:
    r"""A template with its texts. Where an empty text has a line of its own, that line is left out.

    Texts are not searched again: a path may hold @@NAME, too.

    Example:
        >>> filled("start\n@@SETUP\ncd @@{HOME}/jobs\n", {"SETUP": "", "HOME": "/home/@@SETUP"})
        'start\ncd /home/@@SETUP/jobs\n'
    """
    empty = "|".join(name for name, text in texts.items() if not text)
    lines = re.sub(rf"^@@({empty})\n", "", template, flags=re.MULTILINE) if empty else template
    return _Script(lines).substitute(texts)
