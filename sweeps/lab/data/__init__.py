"""Data sets: one file per source, one union of specs, one function that loads any of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.lab.data.base import Data, Split
from sweeps.lab.data.cifar10 import Cifar10
from sweeps.lab.data.digits import Digits
from sweeps.lab.data.markov import Markov
from sweeps.lab.data.mnist import Mnist
from sweeps.lab.data.modular import Modular
from sweeps.lab.data.own import OwnData
from sweeps.lab.data.sparse_parity import SparseParity
from sweeps.lab.data.teacher_student import TeacherStudent
from sweeps.lab.data.text import Text

__all__ = [
    "Cifar10",
    "Data",
    "DataSpec",
    "Digits",
    "Markov",
    "Mnist",
    "Modular",
    "OwnData",
    "SparseParity",
    "Split",
    "TeacherStudent",
    "Text",
]

DataSpec = Annotated[
    Digits | Mnist | Cifar10 | TeacherStudent | SparseParity | Modular | Text | Markov | OwnData,
    Field(discriminator="source"),
]
"""Where samples come from, told apart by the field `source`.

digits, mnist, cifar10, teacher_student, sparse_parity, modular, text, markov or callable.
"""
