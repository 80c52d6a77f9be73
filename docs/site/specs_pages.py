"""A page for each shipped spec, and the gallery of their pictures."""

from __future__ import annotations

import re
from pathlib import Path

from landsweep.orchestrator.commands.specs import specs_about
from landsweep.orchestrator.reading import load_yaml
from landsweep.orchestrator.spec_files import shipped_specs

__all__ = ["names", "pages"]

IMAGES = Path(__file__).resolve().parents[1] / "images"
NAMED = {  # pictures that other pages show too
    "landscape_skip": "landscape_skip_surface.png",
    "transfer_mlp": "transfer_mlp_curves.png",
    "transfer_depth": "transfer_depth_curves.png",
}
KINDS = ("function", "command", "landscape", "zoo", "measure", "search", "transfer", "scaling")


def names() -> list[str]:
    """The shipped specs in order."""
    return list(shipped_specs())


def pages() -> dict[str, str]:
    """The gallery, and the page of each spec."""
    texts = {name: file.read_text(encoding="utf-8") for name, file in shipped_specs().items()}
    return {"gallery.md": _gallery(texts), **{f"specs/{name}.md": _page(name, text) for name, text in texts.items()}}


def _kind(text: str) -> str:
    return str(load_yaml(text, "spec")["kind"])


def _page(name: str, text: str) -> str:
    comment = text[: text.index("\nkind:")]
    notes = "\n".join(line.removeprefix("#").removeprefix(" ") for line in comment.splitlines())
    parts = [f"# {name}", _picture(name, "../"), f"```\nlandsweep run {name}\n```"]
    parts += [
        "## What it is",
        f"```text\n{notes.strip()}\n```",
        "## The spec",
        f"```yaml\n{text[len(comment) :].strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _gallery(texts: dict[str, str]) -> str:
    parts = [
        "# Gallery",
        "Ready specs that come with landsweep and run by their names: `landsweep run NAME`. The pictures are from "
        "their own reports. Each page has the spec, what it costs, and what one sees.",
    ]
    about = specs_about()
    for kind in KINDS:
        chosen = [name for name, text in texts.items() if _kind(text) == kind]
        if chosen:
            parts.append(f"## {kind.capitalize()}")
        for name in chosen:
            parts += [f"### [{name}](specs/{name}.md)", about[name], _picture(name, "")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _picture(name: str, up: str) -> str:
    picture = NAMED.get(name, f"gallery/{name}.png")
    if not (IMAGES / picture).is_file():
        return ""
    about = re.sub(r"[\[\]]", "", specs_about()[name])
    return f"![{about}]({up}images/{picture})"
