"""All sources but the mixture of others."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from landsweep.sweeps.lab.data.cifar10 import Cifar10
from landsweep.sweeps.lab.data.denoising import Denoising
from landsweep.sweeps.lab.data.digits import Digits
from landsweep.sweeps.lab.data.documents import Documents
from landsweep.sweeps.lab.data.hf_dataset import HfDataset
from landsweep.sweeps.lab.data.hidden_markov import HiddenMarkov
from landsweep.sweeps.lab.data.image_folder import ImageFolder
from landsweep.sweeps.lab.data.imbalanced import Imbalanced
from landsweep.sweeps.lab.data.markov import Markov
from landsweep.sweeps.lab.data.mnist import Mnist
from landsweep.sweeps.lab.data.modular import Modular
from landsweep.sweeps.lab.data.own import OwnData
from landsweep.sweeps.lab.data.reconstruction import Reconstruction
from landsweep.sweeps.lab.data.sparse_parity import SparseParity
from landsweep.sweeps.lab.data.spurious_cue import SpuriousCue
from landsweep.sweeps.lab.data.teacher_student import TeacherStudent
from landsweep.sweeps.lab.data.text import Text
from landsweep.sweeps.lab.data.token_files import TokenFiles
from landsweep.sweeps.lab.data.translation import Translation
from landsweep.sweeps.lab.data.webdataset import WebDataset

__all__ = ["SingleSource"]

Images = Digits | Mnist | Cifar10 | SpuriousCue | Denoising | Imbalanced | Reconstruction
InMemory = Images | TeacherStudent | SparseParity | Modular | Text | Markov | HiddenMarkov | Translation | OwnData
OnDisk = TokenFiles | Documents | HfDataset | ImageFolder | WebDataset
SingleSource = Annotated[InMemory | OnDisk, Field(discriminator="source")]
"""Where samples that can be looked up by their place come from."""
