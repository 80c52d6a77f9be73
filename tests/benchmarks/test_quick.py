"""Each benchmark can be looked at often: it has a short form, by the same flag."""

from __future__ import annotations

import argparse
import importlib
import re

import pytest

from tests.support.paths import ROOT

HERE = ROOT / "tests/benchmarks"
SOURCES = {p.stem: p.read_text(encoding="utf-8") for p in HERE.glob("*.py") if not p.stem.startswith(("test_", "__"))}
COMMANDS = sorted(name for name, source in SOURCES.items() if "\ndef main(" in source)


class Asked(Exception):
    """A benchmark wants its arguments: nothing has run yet."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_knows_quick(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers = []

    def ask(parser: argparse.ArgumentParser, *_: object) -> None:
        parsers.append(parser)
        raise Asked

    module = importlib.import_module(f"tests.benchmarks.{name}")
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", ask)
    with pytest.raises(Asked):
        module.main()
    assert "--quick" in parsers[0].format_help()
    assert "--quick" in (module.__doc__ or "")


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - set(COMMANDS)))
def test_what_is_no_command_is_part_of_one(name: str) -> None:
    assert any(re.search(rf"benchmarks\.{name}\b", SOURCES[command]) for command in COMMANDS)
