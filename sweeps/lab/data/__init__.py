"""Data sets: one file per source, one union of specs, one function that loads any of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.lab.data.base import Data, Split
from sweeps.lab.data.cifar10 import Cifar10
from sweeps.lab.data.digits import Digits
from sweeps.lab.data.mnist import Mnist
from sweeps.lab.data.own import OwnData

__all__ = ["Cifar10", "Data", "DataSpec", "Digits", "Mnist", "OwnData", "Split"]

DataSpec = Annotated[Digits | Mnist | Cifar10 | OwnData, Field(discriminator="source")]
"""Where samples come from; told apart by the field `source`: digits, mnist, cifar10 or callable."""
