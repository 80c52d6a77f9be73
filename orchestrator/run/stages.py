"""Specs in stages: each stage is a sweep of its own, and later ones take what earlier ones have kept.

In a stage's spec the text `stage:NAME` stands for the results folder of an earlier stage, wherever a folder can be
named: `of: {sweep: "stage:train"}`. A stage begins when the one before it has ended.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import SweepKind, kind_named
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.run.stage_list import NAME
from landsweep.orchestrator.run.sweep import changed_fields, spec_from
from landsweep.orchestrator.spec import Section, Spec, parse
from landsweep.orchestrator.spec_files import is_file, spec_folder, spec_path

__all__ = ["STAGES", "Stage", "Stages", "read_stages", "results_of", "stages_from"]

STAGES = "stages"
"""What stands in the place of a kind where all stages are meant."""
_PREFIX = "stage:"
_FIELDS = ("name", "description", "stages")
_NAME_OF_ALL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
_OTHER_NAMES = ("site", "name", "rows", "report")  # of changes, of folders of a sweep, and of the page of all stages
_REF = "sweep"  # the field of a spec that names a sweep whose models it takes


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage as it was written.

    Attributes:
        name: of the stage, and of the folder of its results.
        fields: of its spec.
        source: what to call it in a message.
        folder: what paths in its spec are relative to.
        mentions: the earlier stages that its spec names, by the field that names them.
    """

    name: str
    fields: Mapping[str, Any]
    source: str
    folder: Path
    mentions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stages:
    """Sweeps that are run one after another.

    Attributes:
        name: of the whole.
        description: what it is for.
        stages: in order.
    """

    name: str
    description: str
    stages: tuple[Stage, ...]

    def sweep(self, stage: Stage, root: str) -> tuple[SweepKind[Any], Spec]:
        """The kind and spec of a stage, as `load_spec` gives them.

        Args:
            stage: one of these.
            root: folder of all results, a path or URL.

        Raises:
            SpecError: its spec can't be used, or has no models to take.
        """
        try:
            return spec_from(self._resolved(stage, root), (), stage.source, stage.folder)
        except UsageError as e:  # of models that can't be taken: the message does not say where it was
            if str(e).startswith(stage.source):
                raise
            raise type(e)(f"{stage.source}: {e}") from e

    def outline(self, stage: Stage, root: str) -> tuple[SweepKind[Any], Spec]:
        """Kind and spec of a stage, without what depends on the models of other stages.

        Raises:
            SpecError: its spec can't be used.
        """
        fields = self._resolved(stage, root)
        kind = kind_named(fields["kind"])
        return kind, kind.parse(fields, stage.source)

    def check(self, root: str) -> None:
        """Refuse what can be seen to be wrong before any work.

        The models of other stages are not looked at: they may be those of a run that was stopped, and more may come.

        Args:
            root: folder of all results, a path or URL.

        Raises:
            SpecError: a spec can't be used, or takes the models of a stage that keeps none.
        """
        keeps: dict[str, bool] = {}
        for stage in self.stages:
            look = self.outline if stage.mentions else self.sweep
            kind, _ = look(stage, root)
            keeps[stage.name] = kind.leaves_weights
            for field, name in stage.mentions.items():
                if field.rpartition(".")[2] == _REF and not keeps[name]:
                    raise SpecError(
                        f"{stage.source}: {field}: the stage {name!r} keeps no weights that could be taken; name one "
                        "that trains networks"
                    )

    def frozen(self) -> dict[str, Any]:
        """All of them as JSON can hold it, for `thawed`: no file of a spec is read again."""
        stages = {s.name: {"fields": dict(s.fields), "source": s.source, "folder": str(s.folder)} for s in self.stages}
        return {"name": self.name, "description": self.description, "stages": stages}

    @classmethod
    def thawed(cls, fields: Mapping[str, Any], source: str) -> Stages:
        """The stages that were frozen.

        Args:
            fields: as `frozen` gives them.
            source: what to call them in a message.

        Raises:
            SpecError: they are not as `frozen` gives them.
        """
        frozen = parse(_Frozen, fields, source)
        stages = (
            Stage(name, s.fields, s.source, Path(s.folder), dict(_mentions(s.fields)))
            for name, s in frozen.stages.items()
        )
        return cls(frozen.name, frozen.description, tuple(stages))

    def _resolved(self, stage: Stage, root: str) -> dict[str, Any]:
        fields: dict[str, Any] = _replaced(stage.fields, root)
        return {"name": f"{self.name}_{stage.name}", **fields}


class _FrozenStage(Section):
    fields: dict[str, Any]
    source: str
    folder: str


class _Frozen(Section):
    name: str
    description: str
    stages: dict[str, _FrozenStage]


def results_of(root: str, stage: str) -> str:
    """Where the results of a stage lie, under the folder of all."""
    return f"{root.rstrip('/')}/{stage}"


def read_stages(path: Path, changes: Sequence[str] = ()) -> Stages | None:
    """The stages of a spec file; None where it is the spec of one sweep.

    Args:
        path: of the file.
        changes: `STAGE.field=value`, or `name=NAME`.

    Raises:
        SpecError: a stage has no spec, names one that does not come before it, or a change names no stage.
    """
    return stages_from(read_yaml(path), changes, str(path), spec_folder(path), path.stem)


def stages_from(
    fields: Mapping[str, Any], changes: Sequence[str], source: str, folder: Path, name: str = ""
) -> Stages | None:
    """The same of fields that are at hand.

    Args:
        fields: as in a spec file.
        changes: as above.
        source: what to call them in a message.
        folder: what paths in them are relative to.
        name: of the whole, if they give none.

    Raises:
        SpecError: as above.
    """
    if STAGES not in fields or "kind" in fields:
        return None
    if unknown := sorted(set(fields) - set(_FIELDS)):
        raise SpecError(f"{source}: {unknown[0]}: unknown field; a spec in stages has {', '.join(_FIELDS)}")
    written = fields[STAGES]
    if not isinstance(written, Mapping) or not written:
        raise SpecError(f"{source}: stages: give each stage by its name, such as {{train: zoo.yaml, measure: {{...}}}}")
    for stage in map(str, written):
        if not NAME.fullmatch(stage) or stage in _OTHER_NAMES:
            raise SpecError(
                f"{source}: stages: {stage[:60]!r} can't be the name of a stage; take lower-case letters, digits "
                f"and _, not {', '.join(map(repr, _OTHER_NAMES))}"
            )
    changed_name, of_stages = _sorted_changes(changes, written)
    name = changed_name or str(fields.get("name") or name)
    if not _NAME_OF_ALL.fullmatch(name):
        raise SpecError(
            f"{source}: name: {name[:100]!r} can't be the name of a folder of results; begin with a letter or "
            "digit, and take letters, digits and . _ - (at most 150)"
        )
    stages: list[Stage] = []
    for stage, value in written.items():
        read = _stage(stage, value, f"{source}: stages.{stage}", folder, of_stages[stage])
        _check_mentions(read, [s.name for s in stages], list(written))
        stages.append(read)
    return Stages(name, str(fields.get("description") or ""), tuple(stages))


def _stage(name: str, value: object, source: str, folder: Path, changes: Sequence[str]) -> Stage:
    """A stage from what is written after its name: the fields of a spec, or a file that holds them."""
    if isinstance(value, str):
        file = folder / value
        file = spec_path(file if is_file(file) else value)
        value, folder = read_yaml(file), spec_folder(file)
        source = f"{source} ({file})"
    if not isinstance(value, Mapping):
        raise SpecError(f"{source}: give the fields of a spec, or the path of a spec file")
    _, fields = changed_fields(value, changes, source, folder)
    return Stage(name, fields, source, folder, dict(_mentions(fields)))


def _check_mentions(stage: Stage, earlier: Sequence[str], every: Sequence[str]) -> None:
    for field, other in stage.mentions.items():
        if other in earlier:
            continue
        if other in every:
            raise SpecError(
                f"{stage.source}: {field}: takes the stage {other!r}, which does not come before it; put it first"
            )
        close = difflib.get_close_matches(other, every, n=1)
        like = f" (did you mean {close[0]!r}?)" if close else ""
        raise SpecError(
            f"{stage.source}: {field}: there is no stage {other!r}{like}; the stages are {', '.join(every)}"
        )


def _sorted_changes(changes: Sequence[str], stages: Mapping[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """The name of the whole, if it is changed, and the changes of each stage."""
    name = ""
    of_stages: dict[str, list[str]] = {stage: [] for stage in stages}
    for change in changes:
        first, _, rest = change.partition(".")
        if first in of_stages and "=" in rest:
            of_stages[first].append(rest)
        elif change.startswith("name="):
            name = change.removeprefix("name=")
        else:
            raise SpecError(
                f"{change[:200]!r}: begin with the name of a stage, such as {next(iter(stages))}.FIELD=VALUE; the "
                f"stages are {', '.join(stages)}"
            )
    return name, of_stages


def _mentions(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Fields that name a stage, and which."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _mentions(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _mentions(inner, f"{place}.{i}")
    elif isinstance(value, str) and value.startswith(_PREFIX):
        yield place, value.removeprefix(_PREFIX)


def _replaced(value: Any, root: str) -> Any:  # noqa: ANN401 - nested YAML
    """A copy with folders in place of the stages that are named."""
    if isinstance(value, Mapping):
        return {key: _replaced(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, root) for inner in value]
    if isinstance(value, str) and value.startswith(_PREFIX):
        place = results_of(root, value.removeprefix(_PREFIX))
        return place if "://" in place else str(Path(place).resolve())
    return value
