"""Files of arrays: equal input gives equal bytes, and any reader of safetensors reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load, save

from landsweep.orchestrator.storage.arrays import encode
from landsweep.orchestrator.storage.artifacts import Artifacts

ARRAYS = {
    "b/weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "a": np.array(True),
    'quoted "ä"': np.zeros((0, 2), np.int8),
}
ABOUTS = [
    {"format": "x", "packs": '[{"keys": ["ä", "\\n"]}]'},
    {name: name * 3 for name in "qwertyuiop"},
    {"b": "", "a": '"', "\u2028": "\\"},
]


@pytest.mark.parametrize("about", ABOUTS, ids=["zoo", "many", "strange"])
def test_the_bytes_depend_on_the_content_alone(tmp_path: Path, about: dict[str, str]) -> None:
    data = encode(ARRAYS, about)
    assert all(encode(ARRAYS, dict(reversed(about.items()))) == data for _ in range(40))
    assert Artifacts(str(tmp_path)).save("w.safetensors", ARRAYS, about)
    assert (tmp_path / "w.safetensors").read_bytes() == data
    with safetensors.safe_open(tmp_path / "w.safetensors", framework="numpy") as file:
        assert file.metadata() == about
    back = load(data)
    assert back.keys() == ARRAYS.keys()
    assert all(back[n].dtype == a.dtype and back[n].tolist() == a.tolist() for n, a in ARRAYS.items())
    assert len(data) == len(save({n: np.asarray(a, order="C") for n, a in ARRAYS.items()}, about))


def test_another_process_writes_the_same_bytes() -> None:
    code = (
        "import sys; import numpy as np; from landsweep.orchestrator.storage.arrays import encode;"
        "sys.stdout.buffer.write(encode({'x': np.arange(3.0)}, {'format': '1', 'packs': '[]', 'z': ''}))"
    )
    written = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert written == {encode({"x": np.arange(3.0)}, {"z": "", "packs": "[]", "format": "1"})}


def test_files_with_one_text_are_those_of_before() -> None:
    solid = {"x": np.arange(3.0)}
    assert encode(solid) == save(solid)
    assert encode(solid, {"landsweep.digest": "0"}) == save(solid, {"landsweep.digest": "0"})
