"""Images with a spurious cue: which class it tells in each split, and that nothing else is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Digits, SpuriousCue

PLAIN = Digits(source="digits").load(Path()).splits


def cued(**fields: Any) -> SpuriousCue:
    return SpuriousCue.model_validate({"source": "spurious_cue", "brightness": 9.0, **fields})


def read(source: SpuriousCue, inputs: Tensor) -> Tensor:
    """Class [n] that the cue tells, from the pixels alone; exactly one patch is lit."""
    lit = torch.stack(
        [
            (inputs[:, :, r : r + source.size, c : c + source.size] == source.brightness).flatten(1).all(1)
            for r, c in source.places(8, 8, 10)
        ]
    )
    assert bool((lit.sum(0) == 1).all())
    return lit.int().argmax(0)


@pytest.mark.parametrize("size", [1, 2])
def test_each_split_has_the_cue_that_it_says(size: int) -> None:
    source = cued(size=size)
    splits = source.load(Path()).splits
    assert tuple(splits) == source.dimensions().splits  # type: ignore[union-attr]
    for name in ("train", "test_cue", "test_random_image"):
        assert torch.equal(read(source, splits[name].inputs), splits[name].targets)
    share = float((read(source, splits["test_random_cue"].inputs) == splits["test"].targets).double().mean())
    assert share == pytest.approx(0.1, abs=0.05)  # three deviations of a tenth of 397
    for name, plain in (("train_plain", "train"), ("test", "test")):
        assert torch.equal(splits[name].inputs, PLAIN[plain].inputs)
    assert all(torch.equal(splits[n].targets, PLAIN["test"].targets) for n in splits if n.startswith("test"))


def test_outside_of_the_patch_images_are_those_of_the_source() -> None:
    source = cued()
    splits = source.load(Path()).splits
    for name, plain in (("train", "train"), ("test_cue", "test"), ("test_random_cue", "test")):
        changed = splits[name].inputs != PLAIN[plain].inputs
        assert int(changed.flatten(1).sum(1).max()) == 1
    moved = (splits["test_random_image"].inputs != splits["test_cue"].inputs).flatten(1).any(1)
    assert float(moved.double().mean()) > 0.9


@pytest.mark.parametrize(("share", "told"), [(0.0, 0.1), (0.5, 0.55), (1.0, 1.0)])
def test_the_share_of_images_whose_cue_tells_their_class(share: float, told: float) -> None:
    source = cued(share=share)
    train = source.load(Path()).splits["train"]
    assert float((read(source, train.inputs) == train.targets).double().mean()) == pytest.approx(told, abs=0.04)


def test_the_seed_decides_and_a_stand_in_has_the_same_splits() -> None:
    one, same, other = (cued(share=0.5, seed=s).load(Path()).splits["train"].inputs for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    small = cued().stand_in(12, Path())
    assert set(small.splits) == set(cued().load(Path()).splits) and len(small.splits["train"]) == 12


def test_places_lie_on_the_border_apart_from_each_other() -> None:
    assert cued().places(8, 8, 10)[:3] == [(0, 0), (0, 2), (0, 5)]
    for size, height in ((1, 8), (2, 8), (4, 32)):
        places = cued(size=size).places(height, height, 10)
        assert all(r in (0, height - size) or c in (0, height - size) for r, c in places)


@pytest.mark.parametrize("size", [3, 8, 20])
def test_patches_that_overlap_are_refused(size: int) -> None:
    with pytest.raises(SpecError, match="overlap on the border of an image of 8 x 8; give a smaller size"):
        cued(size=size).load(Path())


def test_bad_fields_are_refused() -> None:
    for wrong in ({"share": 1.1}, {"size": 0}, {"of": {"source": "markov"}}):
        with pytest.raises(ValidationError):
            cued(**wrong)
    with pytest.raises(ValidationError, match="no such split here"):
        cued(of={"source": "digits", "validation": 100})
