"""The habits that keep the code readable, checked by a machine."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT, SOURCES, TESTS

LONGEST_FILE, LONGEST_FUNCTION = 400, 60


@pytest.mark.parametrize("file", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_fit_the_eye(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    assert file.name not in ("utils.py", "helpers.py", "common.py"), "name the idea"
    for word in ("TODO", "FIXME", "XXX"):
        assert word not in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_test_file_stands_alone(file: Path) -> None:
    """What tests share is in `tests/support`, or beside them in a file without tests; places are in `paths.py`."""
    text = file.read_text(encoding="utf-8")
    imports = set(re.findall(r"(?:from|import) (tests(?:\.\w+)*)", text))  # also in code that a test gives a process
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                imports |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                imports |= {f"{node.module}.{alias.name}" for alias in node.names}
            case ast.Name(id="__file__"):
                assert file.name == "paths.py", (
                    "a path that breaks when the file moves: take it from tests.support.paths"
                )
    assert not [name for name in imports if re.match(r"tests\b.*\.test_", name)], (
        "put what is shared into tests/support"
    )


def test_modules_that_tests_and_scripts_import_are_there() -> None:
    """A module that has moved is known here before the whole suite is collected."""
    absent = set()
    for file in [*TESTS.rglob("*.py"), *(ROOT / "docs").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("landsweep", "tests"):
                folder = ROOT / "src" if str(node.module).startswith("landsweep") else ROOT
                place = folder / str(node.module).replace(".", "/")
                if not (place.is_dir() or place.with_suffix(".py").is_file()):
                    absent.add((file.relative_to(ROOT).as_posix(), node.module))
    assert not absent


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("ray", "run/executors/ray/"),
        ("mlflow", "tracking/mlflow.py"),
        ("obstore", "storage/store/"),
        ("optuna", "search/"),
        ("matplotlib", "report/drawing.py"),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, home: str) -> None:
    importing = set()
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(n.split(".")[0] == library for n in names):
                importing.add(file.relative_to(ROOT).as_posix().removeprefix("orchestrator/"))
    assert importing and all(file == home or (home.endswith("/") and file.startswith(home)) for file in importing)


def test_all_lists_are_exact() -> None:
    """Every name in `__all__` exists, and every public class and function made in a module is in its `__all__`."""
    wrong: dict[str, set[str]] = {}
    for module_info in pkgutil.walk_packages([str(ROOT / "src/landsweep")], "landsweep."):
        name = module_info.name
        module = importlib.import_module(name)
        listed = set(getattr(module, "__all__", ()))
        public = {
            attribute
            for attribute, value in vars(module).items()
            if not attribute.startswith("_") and callable(value) and getattr(value, "__module__", None) == name
        }
        commands = public - listed if name == "landsweep.orchestrator.commands.cli" else set()
        missing = {attribute for attribute in listed if not hasattr(module, attribute)}
        if public - listed - commands or missing:
            wrong[name] = (public - listed) | missing
    assert not wrong
