"""Processes that landsweep starts import libraries, and never modules that lie where their user stands."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.attack.folders import ZOO, landsweep
from tests.support.paths import SOURCES

SHADOWS = (  # that Python or a library imports in a process that has just begun
    "random", "json", "yaml", "numpy", "torch", "multiprocessing", "signal", "selectors", "socket", "struct", "pickle",
    "sweeps", "cluster", "orchestrator",
)  # fmt: skip
SAFE = ("-P", "-I")
RECIPE = {**ZOO["recipe"], "steps": 12, "checkpoints": {"last": True}}


def shadows(folder: Path) -> Path:
    """Modules of these names that leave a trace; gives the file that they write."""
    trace = folder / "it-has-run"
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'a').write({name + ' '!r})\nraise ImportError\n")
    return trace


def tokens(folder: Path) -> dict[str, Any]:
    """Data that processes of their own read while a model is trained."""
    (folder / "tokens").mkdir()
    for split in ("train", "val"):
        np.arange(4000, dtype=np.uint16).__mod__(50).tofile(folder / f"tokens/{split}.bin")
    data = {"source": "token_files", "folder": "tokens", "vocabulary": 50, "context": 8, "processes": 1}
    return {
        **RECIPE,
        "data": data,
        "evaluate": {"first": 64},
        "net": {"net": "gpt", "width": 8, "depth": 1, "heads": 2},
    }


@pytest.mark.slow
@pytest.mark.parametrize("how", ["a gang", "readers of data"])
def test_modules_where_the_user_stands_are_in_no_process(how: str, tmp_path: Path) -> None:
    fields = {"devices": 2, "recipe": RECIPE} if how == "a gang" else {"recipe": tokens(tmp_path)}
    spec = {**ZOO, "axes": {}, "seeds": {"range": 1}, "backend": "loop", **fields}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    trace = shadows(tmp_path)
    done = landsweep("run", "spec.yaml", "--out", "out", "site.executor=local", "site.tracking=false", cwd=tmp_path)
    assert not trace.exists(), trace.read_text()
    assert done.returncode == 0, done.stderr


def test_every_python_is_started_without_the_current_folder() -> None:
    """`python -m` and `python -c` search it first."""
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.List | ast.Tuple | ast.Call):
                words = [ast.unparse(w).strip("'") for w in (node.args if isinstance(node, ast.Call) else node.elts)]
                for word, after in itertools.pairwise(words):
                    place = (file, node.lineno, words)
                    if word == "sys.executable" and after.startswith(("-", "*")):
                        assert after in (*SAFE, "*DRIVER"), place
                    if after == "-m" or (after == "-c" and "import" in "".join(words)):
                        assert word in SAFE, place
