"""Data sets: one file per source, one union of specs, one function that loads any of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, get_args

from pydantic import Field

from landsweep.sweeps.lab.data.base import Data, Dimensions, Source, Split
from landsweep.sweeps.lab.data.cifar10 import Cifar10
from landsweep.sweeps.lab.data.denoising import Denoising
from landsweep.sweeps.lab.data.digits import Digits
from landsweep.sweeps.lab.data.documents import Documents
from landsweep.sweeps.lab.data.hf_dataset import HfDataset
from landsweep.sweeps.lab.data.hidden_markov import HiddenMarkov
from landsweep.sweeps.lab.data.image_folder import ImageFolder
from landsweep.sweeps.lab.data.imbalanced import Imbalanced
from landsweep.sweeps.lab.data.iterable import IterableData
from landsweep.sweeps.lab.data.markov import Markov
from landsweep.sweeps.lab.data.mixture import Mixture
from landsweep.sweeps.lab.data.mnist import Mnist
from landsweep.sweeps.lab.data.modular import Modular
from landsweep.sweeps.lab.data.own import OwnData
from landsweep.sweeps.lab.data.reconstruction import Reconstruction
from landsweep.sweeps.lab.data.single import SingleSource
from landsweep.sweeps.lab.data.sparse_parity import SparseParity
from landsweep.sweeps.lab.data.spurious_cue import SpuriousCue
from landsweep.sweeps.lab.data.teacher_student import TeacherStudent
from landsweep.sweeps.lab.data.text import Text
from landsweep.sweeps.lab.data.token_files import TokenFiles
from landsweep.sweeps.lab.data.translation import Translation
from landsweep.sweeps.lab.data.webdataset import WebDataset

__all__ = [
    "Cifar10",
    "Data",
    "DataSpec",
    "Denoising",
    "Digits",
    "Dimensions",
    "Documents",
    "HfDataset",
    "HiddenMarkov",
    "ImageFolder",
    "Imbalanced",
    "IterableData",
    "Markov",
    "Mixture",
    "Mnist",
    "Modular",
    "OwnData",
    "Reconstruction",
    "Source",
    "SparseParity",
    "Split",
    "SpuriousCue",
    "TeacherStudent",
    "Text",
    "TokenFiles",
    "Translation",
    "WebDataset",
    "sources_with_dimensions",
]

DataSpec = Annotated[SingleSource | IterableData | Mixture, Field(discriminator="source")]
"""Where samples come from, told apart by the field `source`: one that `SingleSource` lists, iterable or mixture."""


def sources_with_dimensions() -> list[str]:
    """Names of the sources whose spec alone tells the shapes of their data."""
    with_dimensions = [c for c in _sources(DataSpec) if c.dimensions is not Source.dimensions]
    return [get_args(c.model_fields["source"].annotation)[0] for c in with_dimensions]


def _sources(union: object) -> Iterator[type[Source]]:
    for part in get_args(union):
        if isinstance(part, type) and issubclass(part, Source):
            yield part
        else:
            yield from _sources(part)
