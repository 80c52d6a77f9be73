"""A wheel holds what pages are made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGE = """
import landsweep.orchestrator.report.html as html
page = html.page_html(html.Page("a < b", [html.SectionView("s", [("text", "t")])], {"x": "1"}, "spec", "y"))
print(html.__file__)
print(page)
"""


def test_a_page_is_written_from_an_installed_wheel(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    source, wheels, installed = tmp_path / "source", tmp_path / "wheels", tmp_path / "installed"
    source.mkdir()
    for name in ("orchestrator", "sweeps", "cluster"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(wheels)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    env = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run(
        [sys.executable, "-c", PAGE], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    where, page = run.stdout.split("\n", 1)
    assert Path(where).is_relative_to(installed)
    assert "<h1>a &lt; b</h1>" in page and "--ink: #1c2024" in page and "<dt>x</dt><dd>1</dd>" in page
