"""A new back-end is a file of its own and its name in one list: specs, `auto`, commands and messages read that list.

The package is copied, a file and a name are added to the copy, and a process of its own uses it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import kind_named
from landsweep.sweeps.lab.training import backends
from tests.support.copied import LANDSWEEP, copy_package, run_python

FILE = '''
"""A back-end for the test: computes as `vmap` does."""

from landsweep.sweeps.lab.training.backends.vmap import Vmap


class Toy(Vmap):
    """As vmap, under a name of its own."""

    name = "toy"
'''
USE = """
import json
from pathlib import Path

from landsweep.orchestrator.kind import kind_named
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import calibrate, choose
from landsweep.sweeps.lab.training.backends import BACKENDS

kinds = ("zoo", "search", "transfer", "scaling")
columns = {c.name: c.doc for c in kind_named("zoo").columns(kind_named("zoo").example())}
data = {"source": "teacher_student", "features": 6, "outputs": 3, "task": "classification", "train": 64, "test": 16}
recipe = Recipe.model_validate({"data": data, "net": {"net": "mlp", "hidden": [4]}, "steps": 3, "batch_size": 8})
tried = []
calibrate.shortest_step = lambda backend, recipes, *_, **__: tried.append(backend.name) or 0.01
print(json.dumps({
    "schema": {k: kind_named(k).spec.model_json_schema()["properties"]["backend"]["enum"] for k in kinds},
    "column": columns["backend"],
    "auto": choose(recipe, recipe.data.load(Path())).backend,
    "tried": sorted(set(tried)),
}))
"""
ZOO = """
kind: zoo
name: toys
recipe:
  data: {source: teacher_student, features: 6, outputs: 3, task: classification, train: 64, test: 16}
  net: {net: mlp, hidden: [4]}
  steps: 3
  batch_size: 8
seeds: [0, 1]
backend: toy
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has one back-end more."""
    folder = tmp_path_factory.mktemp("copy")
    rooms = copy_package(folder) / "lab/training/backends"
    (rooms / "toy.py").write_text(FILE)
    text = (rooms / "__init__.py").read_text()
    assert text.count("(Loop, Vmap, Conv, Bmm, Compiled)") == 1
    line = "from landsweep.sweeps.lab.training.backends.toy import Toy\n\nBACKENDS: dict"
    text = text.replace("BACKENDS: dict", line, 1).replace("Bmm, Compiled)", "Bmm, Compiled, Toy)")
    (rooms / "__init__.py").write_text(text)
    (folder / "toys.yaml").write_text(ZOO)
    return folder


def test_specs_columns_and_auto_know_it(copy: Path) -> None:
    said: dict[str, Any] = json.loads(run_python(copy, "-c", USE))
    several = (*backends.GANG_BACKENDS,)  # of models that several devices train
    assert set(map(tuple, said["schema"].values())) == {
        ("auto", "loop", "vmap", "conv", "bmm", "compiled", "toy", *several)
    }
    assert "loop, vmap, conv, bmm, compiled, toy" in said["column"]
    assert said["auto"] == "toy" and said["tried"] == ["loop", "toy"], "the last in the list is the most special"


@pytest.mark.slow
def test_commands_know_it(copy: Path) -> None:
    run_python(copy, *LANDSWEEP, "run", "toys.yaml", "--site", "local", "site.tracking=off")
    assert "2/2 units (2 ok)" in run_python(copy, *LANDSWEEP, "status", "results/toys")
    assert "toy" in run_python(copy, *LANDSWEEP, "kinds", "zoo")
    key = run_python(
        copy,
        "-c",
        "from landsweep import Zoo; z = Zoo('results/toys'); assert set(z.rows.backend) == {'toy'}; print(z.keys[0])",
    )
    assert "equal" in run_python(copy, *LANDSWEEP, "regenerate", "results/toys", key.strip(), "--backend", "toy")
    complaint = run_python(copy, *LANDSWEEP, "regenerate", "results/toys", key.strip(), "--backend", "toi", fails=True)
    assert "there is no back-end 'toi'; there are auto, loop, vmap, conv, bmm, compiled, toy" in " ".join(
        complaint.split()
    )


@pytest.mark.parametrize("kind", ["zoo", "search", "transfer", "scaling"])
def test_a_name_that_is_no_back_end_is_refused_with_those_that_are(kind: str) -> None:
    fields = kind_named(kind).example().model_dump(mode="json", by_alias=True)
    with pytest.raises(
        SpecError, match=r"backend: not allowed; did you mean 'bmm'.*: auto, loop, vmap, conv, bmm, compiled.*'bm'"
    ):
        kind_named(kind).parse({**fields, "backend": "bm"}, "test")
    assert get_args(backends.BackendName) == ("auto", *backends.BACKENDS, *backends.GANG_BACKENDS)
