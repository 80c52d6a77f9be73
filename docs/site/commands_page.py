"""The reference of the command line, from its commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import EnumType
from importlib.metadata import entry_points
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer.main

from landsweep.orchestrator.commands.cli import COMMANDS, app

__all__ = ["page"]


def page() -> str:
    """All commands with usage, arguments and options."""
    for entry in entry_points(group=COMMANDS):
        entry.load()(app)
    group = typer.main.get_command(app)
    commands: dict[str, Any] = vars(group)["commands"]
    parts = [
        "# Command line",
        "`landsweep COMMAND --help` prints the same. Exit codes: 0 all is well; 1 some units failed, or a check "
        "was not passed; 2 the input can't be used, and nothing was started; 3 stopped, and the same command resumes.",
    ]
    hints = {_name(info): get_type_hints(info.callback) for info in app.registered_commands if info.callback}
    parts += [_section(name, command, hints[name]) for name, command in sorted(commands.items())]
    return "\n\n".join(parts) + "\n"


def _name(info: Any) -> str:  # noqa: ANN401 - typer's registration
    return info.name or info.callback.__name__.replace("_", "-")


def _section(name: str, command: Any, hints: Mapping[str, object]) -> str:  # noqa: ANN401 - click's command
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    words = [_metavar(p) for p in arguments]
    usage = " ".join(["landsweep", name, *words, *(["[OPTIONS]"] if options else [])])
    parts = [f"## {name}", _text(command.help or ""), f"```\n{usage}\n```"]
    lines = [(_code(_metavar(p)), _text(getattr(p, "help", None) or "")) for p in arguments]
    lines += [(_code(_option(p, hints[p.name])), _with_default(p)) for p in options if not getattr(p, "hidden", False)]
    if lines:
        rows = "\n".join(f"| {left} | {right} |" for left, right in lines)
        parts.append(f"| given | meaning |\n|---|---|\n{rows}")
    if command.epilog:
        parts.append(f"Example: `{command.epilog.removeprefix('Example: ')}`")
    return "\n\n".join(parts)


def _code(text: str) -> str:
    """Code in a cell of a table, where a bar would end the cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>"


def _metavar(parameter: Any) -> str:  # noqa: ANN401 - click's parameter
    name = str(parameter.metavar or parameter.name).upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _option(parameter: Any, hint: object) -> str:  # noqa: ANN401 - click's parameter
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {_value(hint)}"


def _value(hint: object) -> str:
    """What an option takes: one of some words, a number, text, a path."""
    options = [inner for inner in get_args(hint) if inner is not type(None)]
    if get_origin(hint) is Literal:
        return "|".join(map(str, options))
    if get_origin(hint) in (list, tuple, Union, UnionType, Annotated) and options:
        return _value(options[0])
    words = {str: "TEXT", Path: "PATH", int: "NUMBER", float: "NUMBER"}
    return "|".join(member.value for member in hint) if isinstance(hint, EnumType) else words.get(hint, "VALUE")


def _with_default(parameter: Any) -> str:  # noqa: ANN401 - click's parameter
    default = getattr(parameter.default, "value", parameter.default)
    shown = default not in (None, False, True, "", ()) and not callable(default)
    return _text(parameter.help or "") + (f" Default: `{default}`." if shown else "")


def _text(text: str) -> str:
    """Help for a page: one line per paragraph, and nothing that Markdown or HTML would read in its own way."""
    paragraphs = ["\n".join(p.split("\n")) for p in text.strip().split("\n\n")]
    plain = "\n\n".join(re.sub(r"\s+", " ", p) for p in paragraphs)
    return plain.replace("<", "&lt;").replace("|", "\\|").replace("[", "\\[")
