"""A page for each shipped spec, and the gallery of their pictures."""

from __future__ import annotations

import re
from pathlib import Path

from landsweep.orchestrator.commands.specs import specs_about
from landsweep.orchestrator.reading import load_yaml
from landsweep.orchestrator.spec_files import shipped_specs

__all__ = ["names", "pages", "without_picture"]

IMAGES = Path(__file__).resolve().parents[1] / "images"
NAMED = {  # pictures that other pages show too
    "landscape_skip": "landscape_skip_surface.png",
    "transfer_mlp": "transfer_mlp_curves.png",
    "transfer_depth": "transfer_depth_curves.png",
}
_FILES = "it needs files of {} and has not been run here; `landsweep plan {}` says what it computes"
_OF_A_PAPER = "what they show is judged claim by claim among the [papers](papers.md)"
_WITHOUT_PICTURE = {  # and why
    "scaling_cluster": "it is for a cluster and has not been run at this size; what it plans is in "
    "[scaling](scaling.md)",
    "scaling_text": "the figures of `scaling_markov` show the same with a known answer; what was seen is on its page",
    **{
        name: _FILES.format(data, name)
        for name, data in {
            "zoo_mnist_hyper_2022": "MNIST",
            "zoo_small_cnn_mnist": "MNIST",
            "zoo_phase_resnet18_cifar10": "CIFAR-10",
            "zoo_taxonomy_resnet18_cifar10": "CIFAR-10",
        }.items()
    },
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
        chosen = [name for name, text in texts.items() if _kind(text) == kind and not _of_a_paper(name)]
        if chosen:
            parts.append(f"## {kind.capitalize()}")
        for name in chosen:
            parts += [f"### [{name}](specs/{name}.md)", about[name], _picture(name, "")]
    papers = [f"- [{name}](specs/{name}.md): {about[name]}" for name in texts if _of_a_paper(name)]
    parts += ["## Papers", f"No pictures: {_OF_A_PAPER}.", "\n".join(papers)]
    return "\n\n".join(part for part in parts if part) + "\n"


def without_picture(name: str) -> str:
    """Why a spec has no picture; empty where it has one."""
    return _OF_A_PAPER if _of_a_paper(name) else _WITHOUT_PICTURE.get(name, "")


def _of_a_paper(name: str) -> bool:
    return shipped_specs()[name].parent.name == "papers"


def _picture(name: str, up: str) -> str:
    picture = NAMED.get(name, f"gallery/{name}.png")
    if _of_a_paper(name):
        return f"What it shows is judged claim by claim among the [papers]({up}papers.md)."
    if reason := without_picture(name):
        return f"No picture: {reason}.".replace("](", f"]({up}")
    if not (IMAGES / picture).is_file():
        raise FileNotFoundError(f"docs/images/{picture}: make it by docs/figures/gallery.py, or say why there is none")
    about = re.sub(r"[\[\]]", "", specs_about()[name])
    return f"![{about}]({up}images/{picture})"
