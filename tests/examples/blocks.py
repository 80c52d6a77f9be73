"""The code blocks of the documents, and the commands that stand in their text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.paths import ROOT

__all__ = ["ROOT", "Block", "all_blocks", "inline_commands"]

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\.\.\.\}|, \.\.\.(?=\})")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        document: path of the document, from the root.
        language: the word after the fence, such as `yaml`; empty for commands.
        text: between the fences.
    """

    document: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """Document and first line."""
        return f"{self.document}: {self.text.splitlines()[0]}"

    @property
    def yaml(self) -> str:
        """The text without `...`, which stands for what an example leaves out."""
        return _PLACEHOLDER.sub(lambda m: "{}" if m[0].startswith("{") else "", self.text)

    @property
    def commands(self) -> list[str]:
        """Lines that a user types, without comments, prompts and output."""
        lines = [line.split("  #")[0].strip() for line in self.text.splitlines()]
        typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return typed or [line for line in lines if line]


def all_blocks() -> list[Block]:
    """Every block of every document, in order."""
    return [
        Block(str(document.relative_to(ROOT)), *match)
        for document in DOCUMENTS
        for match in _BLOCK.findall(document.read_text(encoding="utf-8"))
    ]


def inline_commands() -> list[tuple[str, str]]:
    """Document and command, for each `landsweep ...` that stands within a sentence or a table."""
    return [
        (str(document.relative_to(ROOT)), command)
        for document in DOCUMENTS
        for command in re.findall(r"`(landsweep [a-z][^`]*)`", _BLOCK.sub("", document.read_text(encoding="utf-8")))
    ]
