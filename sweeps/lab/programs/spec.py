"""A program in a spec: its command line, its environment, and where its metrics come from."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, PositiveFloat, field_validator, model_validator

from landsweep.orchestrator.canonical import Value
from landsweep.orchestrator.named_secrets import is_secret_name
from landsweep.orchestrator.schema import SHORT
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.callables.columns import RESERVED
from landsweep.sweeps.lab.programs.words import FIXED, as_word, filled, names_in, unknown_names

__all__ = ["Metrics", "Program"]

Words: TypeAlias = str | tuple[str, ...]
_OURS = "LANDSWEEP_"
_READERS = (".json", ".jsonl", ".csv")


class Metrics(Section):
    """Where metrics come from, beside the JSON lines that a program may write to the file `$LANDSWEEP_METRICS`.

    What has a `step` becomes a series; the last value of each metric stands in the row.
    """

    pattern: str | tuple[str, ...] = Field(
        (),
        description="regular expressions whose named groups are metrics, such as 'step (?P<step>\\d+) loss "
        "(?P<loss>\\S+)'; searched in each line that the program prints",
    )
    file: str | None = Field(
        None, description="read at the end: a .json, .jsonl or .csv file in {dir}; with * the newest that fits"
    )
    tensorboard: str | None = Field(
        None, description="read at the end: a folder in {dir} with event files of TensorBoard, '.' for {dir} itself"
    )

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The regular expressions."""
        expressions = (self.pattern,) if isinstance(self.pattern, str) else self.pattern
        return tuple(re.compile(text) for text in expressions)

    @model_validator(mode="after")
    def _readable(self) -> Metrics:
        for text in (self.pattern,) if isinstance(self.pattern, str) else self.pattern:
            try:
                groups = re.compile(text).groupindex
            except re.error as e:
                raise ValueError(f"pattern: {text!r} is no regular expression: {e}") from e
            if not groups.keys() - {"step"}:
                raise ValueError(f"pattern: {text!r} names no metric; write its group as (?P<loss>...)")
            if clash := sorted(RESERVED & groups.keys()):
                raise ValueError(f"pattern: the rows have columns of their own named {clash}; rename these groups")
        if self.file is not None and not self.file.endswith(_READERS):
            raise ValueError(f"file: {self.file!r} can't be read; its name must end with {', '.join(_READERS)}")
        for name, path in (("file", self.file), ("tensorboard", self.tensorboard)):
            if path is not None and (path.startswith("/") or ".." in path.split("/")):
                raise ValueError(f"{name}: {path!r} must be inside of {{dir}}: give a relative path without '..'")
        return self


class Program(Section):
    """A program, started once for each unit. In a spec also a plain list: its command line."""

    model_config = ConfigDict(json_schema_extra={SHORT: [{"type": "array"}]})

    run: tuple[Words, ...] = Field(
        min_length=1,
        description="the command line, a list: no shell reads it. {name} stands for a param, and "
        + "; ".join(f"{{{name}}} for {text}" if name == "dir" else f"{{{name}}}" for name, text in FIXED.items())
        + ". A list in the list is left out where one of its params is null or does not exist",
        json_schema_extra={SHORT: [{"type": "array"}]},
    )
    env: dict[str, str] = Field(
        {},
        description="environment variables, beside those of the worker",
        json_schema_extra={SHORT: [{"type": "object"}]},
    )
    cwd: str = Field(".", description="where it is started, relative to the spec's folder; may be {dir}")
    metrics: Metrics = Metrics()
    timeout: PositiveFloat | None = Field(None, description="it is ended when it takes longer, s")
    grace: float = Field(10.0, ge=0, description="time between SIGTERM and SIGKILL when it is ended, s")
    keep: Literal["all", "failed"] = Field(
        "all", description="whose folders stay: of all units, or only of those that did not end well"
    )

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        return {"run": data} if isinstance(data, list | tuple | str) else data

    @field_validator("run", mode="before")
    @classmethod
    def _texts(cls, words: Any) -> Any:  # noqa: ANN401
        if isinstance(words, str):
            raise ValueError("give the command as a list of words: no shell reads it, so nothing splits a text")
        if not isinstance(words, list | tuple):
            return words
        return [[*map(_text, word)] if isinstance(word, list | tuple) else _text(word) for word in words]

    @field_validator("env", mode="before")
    @classmethod
    def _variables(cls, env: Any) -> Any:  # noqa: ANN401
        return {name: _text(value) for name, value in env.items()} if isinstance(env, Mapping) else env

    @model_validator(mode="after")
    def _sound(self) -> Program:
        if not isinstance(self.run[0], str) or not self.run[0]:
            raise ValueError("run: the first word must be the program")
        for text in self.texts():
            names_in(text)
            if "\0" in text:
                raise ValueError(f"{text!r} holds a null byte, which no argument can")
        for name in self.env:
            if not re.fullmatch(r"[^=\0]+", name) or name.startswith(_OURS):
                raise ValueError(f"env: {name!r} can't be set: it is empty, has '=' in it, or begins with {_OURS}")
            if is_secret_name(name):
                raise ValueError(
                    f"env: {name} looks like a credential, and the spec is stored with the results; set it in the "
                    "environment from which landsweep is started"
                )
        return self

    def texts(self) -> Iterator[str]:
        """All that may hold placeholders."""
        for word in self.run:
            yield from (word,) if isinstance(word, str) else word
        yield from self.env.values()
        yield self.cwd

    def names(self) -> set[str]:
        """All placeholders."""
        return {name for text in self.texts() for name in names_in(text)}

    def complaint(self, params: Collection[str]) -> str | None:
        """What is wrong with the placeholders for units with these params, or None."""
        if taken := sorted((FIXED.keys() - {"seed"}) & set(params)):
            return f"{{{taken[0]}}} stands for {FIXED[taken[0]]}, so no axis can have that name; rename it"
        if (unknown := unknown_names(self.texts(), [*params, *FIXED])) is not None:
            return unknown
        if unused := [name for name in params if name not in self.names()]:
            return (
                f"{{{unused[0]}}} stands nowhere in the command, so all its values would give the same; write it into "
                "the command line, or into env"
            )
        return None

    def missing(self, params: Collection[str]) -> list[str]:
        """Placeholders that must have a value, for they stand in no inner list, and have none."""
        must = [*(word for word in self.run if isinstance(word, str)), *self.env.values(), self.cwd]
        return [name for text in must for name in names_in(text) if name not in params and name not in FIXED]

    def argv(self, values: Mapping[str, Value]) -> list[str]:
        """The command line of a unit.

        Args:
            values: param, or name of `FIXED`, to its value.

        Raises:
            KeyError: a placeholder that stands in no inner list has no value.
        """
        texts = {name: as_word(value) for name, value in values.items()}
        argv: list[str] = []
        for word in self.run:
            if isinstance(word, str):
                argv.append(filled(word, texts))
            elif all(values.get(name) is not None for text in word for name in names_in(text)):
                argv += [filled(text, texts) for text in word]
        return argv

    def identity(self) -> dict[str, Any]:
        """What results depend on: not where the program is, how long it may take, or what is kept of it."""
        whole: dict[str, Any] = self.model_dump(mode="json")
        return {name: whole[name] for name in ("run", "env", "metrics")}


def _text(value: Any) -> Any:  # noqa: ANN401
    """A number or flag in a command line as text: YAML reads `8` as one."""
    return as_word(value) if isinstance(value, bool | int | float) else value
