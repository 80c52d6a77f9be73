"""The spec of a measuring sweep: which stored models, how they are put together, what is measured, on which samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.spec import IsAxis, IsLabel, IsNamedAxis, Spec
from landsweep.sweeps.lab.data import DataSpec
from landsweep.sweeps.lab.identity import by_content
from landsweep.sweeps.lab.outline import foresee_split
from landsweep.sweeps.lab.trained_models.refs import FileRef, Ref
from landsweep.sweeps.lab.weight_space.evaluators import EvaluatorSpec
from landsweep.sweeps.measure.measures import MeasureSpec
from landsweep.sweeps.measure.phase_field import PhasesSpec
from landsweep.sweeps.measure.subjects import Each, SubjectsSpec

__all__ = ["MeasureSweepSpec"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class MeasureSweepSpec(Spec):
    """Which stored models, how they are put together, what is measured, and on which samples."""

    kind: Annotated[Literal["measure"], IsLabel()] = Field("measure", description="this kind")
    of: Annotated[tuple[Ref, ...], IsAxis()] = Field(min_length=1, description="the models")
    subjects: Annotated[SubjectsSpec, IsAxis()] = Field(
        (Each(choose="each"),),
        description="each, along, or rules for pairs and groups; of several, each measure takes what it can",
    )
    measures: Annotated[dict[Name, MeasureSpec], IsNamedAxis(), Field(min_length=1)] = Field(
        description="name to measure; adding one keeps all rows"
    )
    evaluators: Annotated[dict[Name, EvaluatorSpec], IsNamedAxis(), Field(min_length=1)] = Field(
        {"train": EvaluatorSpec(split="train"), "test": EvaluatorSpec(split="test")},
        description="samples and loss by name, which measures name as `evaluator`",
    )
    data: DataSpec | None = Field(None, description="of the evaluators; none: what each model was trained on")
    batch_size: int = Field(512, ge=1, description="samples per forward pass")
    reestimate_batches: int = Field(
        8, ge=1, description="training batches for measures that estimate batch normalisation anew"
    )
    seed: int = Field(0, ge=0, description="of what measures draw at random, and of drawn pairs")
    phases: Annotated[PhasesSpec | None, IsLabel()] = Field(
        None, description="rules of a phase diagram that the report shows; none: no diagram"
    )

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        for name, measure in self.measures.items():
            if unknown := [e for e in measure.evaluators() if e not in self.evaluators]:
                raise ValueError(
                    f"measures.{name}: there is no evaluator {unknown[0]!r}; there are {list(self.evaluators)}"
                )
        rules = {rule.of(): rule.choose for rule in self.subjects}
        wanted = {measure.takes(): name for name, measure in self.measures.items()}
        for of, name in wanted.items():
            if of not in rules:
                raise ValueError(
                    f"measures.{name}: {self.measures[name].measure} measures a {of}, but subjects gives "
                    f"{' and '.join(rules.values())}; add {_SUGGESTED[of]} to subjects"
                )
        for of, rule in rules.items():
            if of not in wanted:
                raise ValueError(
                    f"subjects: {rule} gives each measure a {of}, but none of {list(self.measures)} takes one"
                )
        files = [ref for ref in self.of if isinstance(ref, FileRef)]
        if files and self.data is None:
            raise ValueError(
                f"data: {files[0].name} is a network without a recipe, so say on which data it is measured"
            )
        if twice := [ref.name for i, ref in enumerate(files) if ref.name in [other.name for other in files[:i]]]:
            raise ValueError(f"of: the name {twice[0]!r} stands there twice")
        return self

    @model_validator(mode="after")
    def _data_fit(self) -> Self:
        for name, evaluator in self.evaluators.items():
            if (data := evaluator.data or self.data) is not None:
                foresee_split(evaluator.split, data, f"evaluators.{name}.split")
        return self

    def pinned(self, folder: Path) -> Self:
        """This spec with its models, data files and checkpoints pinned by checksum.

        Raises:
            SpecError: a ref can't be followed; names it.
        """
        refs = []
        for i, ref in enumerate(self.of):
            try:
                refs.append(ref.pinned(folder, self.data))
            except UsageError as e:
                raise type(e)(f"of.{i}.{e}") from e
        evaluators = {
            name: e if e.data is None else e.model_copy(update={"data": e.data.pinned(folder)})
            for name, e in self.evaluators.items()
        }
        data = None if self.data is None else self.data.pinned(folder)
        return self.model_copy(update={"of": tuple(refs), "evaluators": evaluators, "data": data})

    def settled(self) -> bool:
        """Whether the models of all sweeps that it names have been read."""
        return all(isinstance(ref, FileRef) or ref.pinned_models is not None for ref in self.of)

    def context(self) -> dict[str, Any]:
        """Identity follows files by content, not by path."""
        identity: dict[str, Any] = by_content(super().context())
        return identity

    def definitions(self) -> dict[str, dict[str, Any]]:
        """Those of the named axes, and for each model the checksum of its weights: under a key they can't change."""
        identity: dict[str, dict[str, Any]] = by_content(super().definitions())
        models: dict[str, dict[str, Any]] = {}
        for ref in self.of:
            if isinstance(ref, FileRef) or ref.pinned_models is not None:
                models |= {f"{m.key} at {m.label}": {"weights": m.weights} for m in ref.models().models}
        return {**identity, "of": models}


_SUGGESTED = {
    "model": "`each`",
    "pair": "`{choose: pairs, within: [...], over: seed}`",
    "group": "`{choose: groups, within: [...], over: seed}` or `along`",
}
