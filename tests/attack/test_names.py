"""Names in a results folder are parts of paths only where they are names; in a terminal they are text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.zoo.export import export_zoo
from tests.attack.folders import FUNCTION, ZOO, command, ran, rewritten


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("names"), ZOO)


def with_first(rows: pa.Table, column: str, value: str) -> pa.Table:
    values = [value, *rows.column(column).to_pylist()[1:]]
    return rows.set_column(rows.column_names.index(column), column, pa.array(values, pa.string()))


def renamed(own: Path, folder: Path, column: str, value: str) -> Path:
    copy = folder / "results/stranger"
    shutil.copytree(own, copy)
    for part in (copy / "rows").glob("*.parquet"):
        rewritten(part, lambda rows: with_first(rows, column, value))
    return copy


PATHS = ["../../../escape", "{tmp}/abs", "a/b", "..", ".", "", ".hidden", "-rf", "a\x00b", "a\nb", "x" * 300, "a b"]


@pytest.mark.parametrize("value", PATHS)
@pytest.mark.parametrize("per_model", [True, False])
def test_keys_are_names(own: Path, tmp_path: Path, value: str, per_model: bool) -> None:
    copy = renamed(own, tmp_path, "key", value.format(tmp=tmp_path))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="no key of a model"):
        export_zoo(Zoo(copy), tmp_path / "export", per_model=per_model)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("value", [p for p in PATHS if p and " " not in p and "\n" not in p])
def test_labels_are_names(own: Path, tmp_path: Path, value: str) -> None:
    copy = renamed(own, tmp_path, "checkpoints", f"last {value.format(tmp=tmp_path)}")
    with pytest.raises(UsageError, match="no label of a checkpoint"):
        export_zoo(Zoo(copy), tmp_path / "export", per_model=True)
    assert not list(tmp_path.rglob("*escape*")) and not (tmp_path / "abs").exists()


FILES = ["../x.safetensors", "/etc/passwd", "sweep.json", "rows/part-000000.parquet", "{label.__class__}.safetensors",
         "{label:>99999999999}.safetensors", "weights/../../x.safetensors", "README.md", ""]  # fmt: skip


@pytest.mark.parametrize("value", FILES)
def test_weight_files_are_weight_files(own: Path, tmp_path: Path, value: str) -> None:
    copy = renamed(own, tmp_path, "weights_file", value)
    with pytest.raises(UsageError):
        export_zoo(Zoo(copy), tmp_path / "export")
    with pytest.raises(UsageError):
        Zoo(copy)[0].state()


@pytest.mark.parametrize("name", ["[/b]", "[red]z", "a[/]b[bold]", "x [link=file:///etc]y", "with blank"])
def test_markup_in_a_path_is_text(tmp_path: Path, name: str) -> None:
    (tmp_path / "failing_again.py").write_text("def f(x, y):\n    raise ValueError('[/b]')\n")
    results = ran(tmp_path, FUNCTION)
    target = tmp_path / name
    words = ("--out", target, "site.executor=local", "site.tracking=false")
    done = command("run", tmp_path / "spec.yaml", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"report: {target}" in done.stderr
    for line in (("status", target), ("verify", target), ("report", target), ("jobs", target)):
        assert command(*line, cwd=tmp_path).returncode == 0
    absent = command("status", f"{results}{name}", cwd=tmp_path)
    assert absent.returncode == 2 and f"own{name}" in absent.stderr
