"""Data sets: one file per source, one union of specs, one function that loads any of them."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from landsweep.sweeps.lab.data.base import Data, Dimensions, Source, Split
from landsweep.sweeps.lab.data.cifar10 import Cifar10
from landsweep.sweeps.lab.data.digits import Digits
from landsweep.sweeps.lab.data.markov import Markov
from landsweep.sweeps.lab.data.mnist import Mnist
from landsweep.sweeps.lab.data.modular import Modular
from landsweep.sweeps.lab.data.own import OwnData
from landsweep.sweeps.lab.data.sparse_parity import SparseParity
from landsweep.sweeps.lab.data.teacher_student import TeacherStudent
from landsweep.sweeps.lab.data.text import Text
from landsweep.sweeps.lab.data.token_files import TokenFiles

__all__ = [
    "Cifar10",
    "Data",
    "DataSpec",
    "Digits",
    "Dimensions",
    "Markov",
    "Mnist",
    "Modular",
    "OwnData",
    "Source",
    "SparseParity",
    "Split",
    "TeacherStudent",
    "Text",
    "TokenFiles",
    "sources_with_dimensions",
]

DataSpec = Annotated[
    Digits | Mnist | Cifar10 | TeacherStudent | SparseParity | Modular | Text | Markov | OwnData | TokenFiles,
    Field(discriminator="source"),
]
"""Where samples come from, told apart by the field `source`.

digits, mnist, cifar10, teacher_student, sparse_parity, modular, text, markov, callable or token_files.
"""


def sources_with_dimensions() -> list[str]:
    """Names of the sources whose spec alone tells the shapes of their data."""
    classes: tuple[type[Source], ...] = get_args(get_args(DataSpec)[0])
    with_dimensions = [c for c in classes if c.dimensions is not Source.dimensions]
    return [get_args(c.model_fields["source"].annotation)[0] for c in with_dimensions]
