"""What is refused from the spec alone, before data are loaded: networks and splits that can't go with the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import kinds
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import DataSpec
from landsweep.sweeps.lab.outline import outline

SOURCES: TypeAdapter[Any] = TypeAdapter(DataSpec)


@pytest.mark.parametrize(
    "source",
    [
        {"source": "digits"},
        {"source": "digits", "validation": 10},
        {"source": "markov", "states": 4, "context": 1, "train": 5, "test": 3},
        {"source": "text", "context": 8, "max_bytes": 400},
        {"source": "teacher_student", "outputs": 3, "train": 5, "test": 2},
        {"source": "teacher_student", "outputs": 3, "task": "classification", "train": 5, "test": 2},
        {"source": "sparse_parity", "bits": 6, "train": 5, "test": 2},
        {"source": "denoising", "of": {"source": "digits"}},
        {"source": "reconstruction", "of": {"source": "digits"}},
        {"source": "imbalanced", "of": {"source": "digits"}, "ratio": 4},
        {"source": "hidden_markov", "states": 3, "words": 4, "context": 2, "train": 5, "test": 3},
    ],
    ids=str,
)
def test_an_outline_is_what_loading_gives(source: dict[str, Any]) -> None:
    spec = SOURCES.validate_python(source)
    outlined, data = outline(spec), spec.load(Path())
    assert outlined is not None
    assert (outlined.shape, outlined.kind, outlined.sequence, outlined.outputs, outlined.classes) == (
        data.shape,
        data.kind,
        data.sequence,
        data.outputs,
        data.classes,
    )
    assert list(outlined.splits) == list(data.splits)


def test_sources_that_tell_nothing_have_none() -> None:
    for source in ({"source": "callable", "path": "m:f"}, {"source": "modular", "modulus": 5}):
        assert outline(SOURCES.validate_python(source)) is None
    assert outline(SOURCES.validate_python({"source": "mnist", "folder": "nowhere"})) is not None


RECIPE: dict[str, Any] = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [8]}, "steps": 4}
GPT = {"net": "gpt", "width": 8, "depth": 1, "heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "zoo": {},
    "search": {
        "space": {"optimizer.learning_rate": {"log_uniform": [0.1, 1]}},
        "goals": [{"minimise": "test_loss"}],
        "budget": {"units": 2},
    },
    "transfer": {"values": [8, 16], "rates": [0.1, 0.2, 0.4]},
    "scaling": {"widths": [8, 16, 32, 64], "ratios": [1, 2, 4], "limits": {"least_steps": 1}},
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": GPT}, r"recipe\.net: gpt takes tokens, but the data gives images \[1, 8, 8\]; networks for images:"),
        ({"net": {"net": "vit", "patch": 3}}, r"recipe\.net: vit has `patch: 3`, which does not divide"),
        ({"split": "valid"}, r"recipe\.split: there is no split 'valid'; there are \['train', 'test'\]"),
        (
            {"evaluate": {"splits": ["test", "validation"]}},
            r"recipe\.evaluate\.splits: there is no split 'validation'; there are",
        ),
    ],
)
def test_a_recipe_that_its_data_can_not_go_with_can_not_be_planned(
    kind: str, changes: dict[str, Any], message: str
) -> None:
    recipe = {**RECIPE, **changes}
    if kind == "scaling":
        recipe.pop("steps")
    with pytest.raises(SpecError, match=message):
        kinds()[kind].parse({"kind": kind, "name": "t", **KINDS[kind], "recipe": recipe}, "test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"a": {**GPT, "train": {"epochs": 1}}}}, r"models\.a: gpt takes tokens, but the data gives images"),
        ({"evaluators": {"e": {"split": "valid"}}}, r"evaluators\.e\.split: there is no split 'valid'"),
        (
            {"models": {"a": {"net": "mlp", "train": {"epochs": 1, "split": "all"}}}},
            r"models\.a\.train\.split: there is no split 'all'",
        ),
        (
            {"evaluators": {"e": {"data": {"source": "sparse_parity"}, "split": "validation"}}},
            r"evaluators\.e\.split: there is no split 'validation'; there are \['train', 'test'\]",
        ),
    ],
)
def test_a_landscape_that_its_data_can_not_go_with_can_not_be_planned(changes: dict[str, Any], message: str) -> None:
    base = {"kind": "landscape", "name": "l", "data": {"source": "digits"}, "axes": {"x": [0, 1]}}
    models = {"models": {"a": {"net": "mlp", "train": {"epochs": 1}}}}
    with pytest.raises(SpecError, match=message):
        parse(kinds()["landscape"].spec, {**base, **models, **changes}, "test")


@pytest.mark.parametrize(
    "source",
    [
        {"source": "digits"},
        {"source": "mnist", "folder": "nowhere", "validation": 10},
        {"source": "cifar10", "folder": "nowhere"},
        {"source": "text", "folder": "nowhere", "context": 8},
        {"source": "markov", "states": 4, "context": 3, "train": 10**9},
        {"source": "teacher_student", "outputs": 3, "train": 10**9},
        {"source": "sparse_parity", "bits": 6, "train": 10**9},
    ],
    ids=str,
)
def test_a_stand_in_has_the_shapes_of_the_data_without_its_files_or_its_size(source: dict[str, Any]) -> None:
    spec = SOURCES.validate_python(source)
    outlined, data = outline(spec), spec.stand_in(6, Path())
    assert outlined is not None
    assert (outlined.shape, outlined.kind, outlined.sequence, outlined.outputs) == (
        data.shape,
        data.kind,
        data.sequence,
        data.outputs,
    )
    assert list(outlined.splits) == list(data.splits) and len(data.splits["train"]) == 6


def test_a_stand_in_of_unknown_shape_is_the_beginning_of_the_data() -> None:
    spec = SOURCES.validate_python({"source": "modular", "modulus": 5})
    few, whole = spec.stand_in(3, Path()), spec.load(Path())
    assert few.shape == whole.shape and few.outputs == whole.outputs
    assert few.splits["train"].inputs.tolist() == whole.splits["train"].inputs[:3].tolist()
