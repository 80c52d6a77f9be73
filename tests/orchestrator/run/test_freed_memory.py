"""Workers keep memory that they have freed: counted in pages that the system hands out."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from landsweep import load

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back")

FUNCTION = """
import resource

def pages(i):
    blocks = [b"x" * (24 << 20) for _ in range(3)]
    del blocks
    return {"pages": resource.getrusage(resource.RUSAGE_SELF).ru_minflt}
"""
OWN_CHOICES = ({"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"})


def pages_between_units(folder: Path, executor: str, environment: dict[str, str]) -> float:
    """The fewest pages that were handed out from one of ten units to the next, all by one worker."""
    (folder / "pages.py").write_text(FUNCTION, encoding="utf-8")
    (folder / "pages.yaml").write_text(
        "kind: function\nname: pages\nfunction: pages:pages\naxes: {i: {range: 10}}\ncolumns: {pages: {doc: so far}}\n",
        encoding="utf-8",
    )
    site = (f"site.executor={executor}", "site.workers=1", "site.tracking=off", "site.probe_seconds=0")
    words = (str(Path(sys.executable).parent / "landsweep"), "run", "pages.yaml", *site, "--out", "out")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    subprocess.run(words, cwd=folder, env={**clean, **environment}, check=True, timeout=300)
    return float(load(folder / "out").rows.sort_values("i")["pages"].diff().iloc[2:].min())


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_freed_memory_is_used_again(tmp_path: Path, executor: str) -> None:
    """Without it three blocks of 24 MB are at least 36 pages, and 18,432 where pages have their usual size."""
    assert pages_between_units(tmp_path, executor, {}) < 20


@pytest.mark.slow
@pytest.mark.parametrize("environment", OWN_CHOICES, ids=lambda e: next(iter(e)))
def test_what_the_environment_says_stays(tmp_path: Path, environment: dict[str, str]) -> None:
    assert pages_between_units(tmp_path, "local", environment) >= 36
