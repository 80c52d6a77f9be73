"""Every block of code in the documents is run as printed; `how.py` says how, and with which overrides."""

from __future__ import annotations

import doctest
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.unit import digest
from tests.examples.blocks import Block, all_blocks, inline_commands
from tests.examples.how import HOW, LOCAL
from tests.examples.ways import Commands, Elsewhere, Listing, Python, Site, SpecBlock
from tests.support.app import app
from tests.support.disk_data import write_json_lines, write_tokens
from tests.support.paths import ROOT
from tests.support.s3 import S3

BLOCKS = all_blocks()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MLflow imports
OWN_MEASURE = "docs/measure.md: def norm"  # the module `my_measures` of the example
OWN_MODULE = "docs/landscapes.md: import torch"  # the module that examples of own networks call `mine`
SCRIPT = """
def train(learning_rate, seed=0, start=0):
    return {"loss": (learning_rate - 0.1) ** 2 + seed / 100 + start / 50}
"""

TRAIN = """
import argparse
parser = argparse.ArgumentParser()
for name, kind in {"lr": float, "clip": float, "seed": int, "layers": int, "out": str}.items():
    parser.add_argument(f"--{name}", type=kind, default=0)
given = parser.parse_args()
for step in range(1, 6):
    print(f"step {step} loss {given.lr + 1 / step:.6f}")
"""


def key_of(block: Block) -> str:
    """The longest key of HOW with which the block begins."""
    text = f"{block.document}: {block.text}"
    return max((key for key in HOW if text.startswith(key)), key=len, default="")


def blocks_run_as(way: type) -> list[Any]:
    chosen = [b for b in BLOCKS if isinstance(HOW.get(key_of(b)), way)]
    return [
        pytest.param(
            b, id=key_of(b), marks=pytest.mark.slow if getattr(HOW[key_of(b)], "slow", False) else pytest.mark.rotating
        )
        for b in chosen
    ]


def say(*words: str) -> str:
    """Type a command; it must end with 0. Its output, both streams."""
    result = CliRunner().invoke(app, list(words), prog_name="landsweep")
    if isinstance(result.exception, LandsweepError):
        pytest.fail(f"landsweep {shlex.join(words)}: {result.exception}")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    assert "could not be made" not in result.output
    return result.output


@contextmanager
def user_folder(folder: Path) -> Iterator[None]:
    """What a user has who types the examples: the shipped specs, a script of their own, a table of runs."""
    (folder / "sweeps").mkdir()
    (folder / "sweeps/specs").symlink_to(ROOT / "sweeps/specs")
    (folder / "my_script.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "train.py").write_text(TRAIN, encoding="utf-8")
    mine = next(block for block in BLOCKS if key_of(block) == OWN_MODULE)
    (folder / "mine.py").write_text(mine.text, encoding="utf-8")
    measures = next(block for block in BLOCKS if key_of(block) == OWN_MEASURE)
    (folder / "my_measures.py").write_text(measures.text, encoding="utf-8")
    write_tokens(folder / "fineweb", name="fineweb_")
    write_json_lines(folder / "wiki")
    table_of_runs().to_csv(folder / "runs.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield
    for module in ("my_script", "mine", "my_measures"):
        sys.modules.pop(module, None)


def table_of_runs() -> pd.DataFrame:
    """Runs that follow the Chinchilla law, with a little noise."""
    noise = np.random.default_rng(0).normal(0, 1e-3, 60)
    n, c = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e18, 3e21, 10)))
    d = c / 6 / n
    return pd.DataFrame({"params": n, "C": c, "loss": (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(noise)})


def run_spec(block: Block, how: SpecBlock, name: str) -> str:
    """Run a block as a spec, and check what it leaves; gives the results folder."""
    given = yaml.safe_load(block.yaml)
    data = merged({how.inside: given} if how.inside else given, how.rest)
    data.setdefault("name", name)
    Path(f"{name}.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    results = f"results/{data['name']}"
    say("run", f"{name}.yaml", *how.changes, *LOCAL)
    assert Path(results, "report/index.html").is_file()
    assert "sound" in say("verify", results)
    rows = Sweep.at(results).rows()
    assert len(rows) and set(rows["status"]) <= {"ok", "pruned"}, rows[["status", "error"]]
    assert eval(how.shows, {"rows": rows})
    return results


def merged(given: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `given`, and of `rest` what it lacks."""
    both = {**rest, **given}
    for name in given.keys() & rest.keys():
        if isinstance(given[name], Mapping) and isinstance(rest[name], Mapping):
            both[name] = merged(given[name], rest[name])
    return both


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that several examples read, each run once."""
    return tmp_path_factory.mktemp("shelf")


def prepare(runs: Mapping[str, Sequence[str]], shelf: Path) -> list[str]:
    """Results that an example reads: of shipped specs, or of blocks that stand before it."""
    folders = []
    for spec, changes in runs.items():
        shelved = shelf / digest([spec, *changes])
        if not shelved.exists():
            shutil.copytree(run_before(spec, changes), shelved)
        folders.append(f"results/{json.loads((shelved / 'sweep.json').read_text())['name']}")
        shutil.copytree(shelved, folders[-1], dirs_exist_ok=True)
    return folders


def run_before(spec: str, changes: Sequence[str]) -> str:
    if ": " not in spec:  # no block of a document
        say("run", spec, *changes, *LOCAL)
        return f"results/{Path(spec).stem}"
    how = HOW[spec]
    assert isinstance(how, SpecBlock)
    for before, smaller in how.runs.items():
        run_before(before, smaller)
    return run_spec(next(b for b in BLOCKS if key_of(b) == spec), SpecBlock(changes), "before")


def test_every_block_is_run_and_nothing_else_is_listed() -> None:
    used = [key_of(block) for block in BLOCKS]
    assert [b.name for b, key in zip(BLOCKS, used, strict=True) if not key] == [], "say in how.py how it is run"
    assert set(HOW) == set(used)


@pytest.mark.parametrize("key", [k for k, how in HOW.items() if isinstance(how, Elsewhere) and how.test])
def test_what_runs_elsewhere_does_run_there(key: str) -> None:
    how = HOW[key]
    assert isinstance(how, Elsewhere)
    file, _, name = how.test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {name}" in text or f"class {name}" in text or "make demo\n" in text


@pytest.mark.parametrize("block", blocks_run_as(SpecBlock))
def test_specs(block: Block, tmp_path: Path, shelf: Path) -> None:
    how = HOW[key_of(block)]
    assert isinstance(how, SpecBlock)
    with user_folder(tmp_path):
        prepare(how.runs, shelf)
        run_spec(block, how, "example")


@pytest.mark.parametrize("block", blocks_run_as(Commands))
def test_commands(block: Block, tmp_path: Path, shelf: Path, request: pytest.FixtureRequest) -> None:
    how = HOW[key_of(block)]
    assert isinstance(how, Commands)
    if "s3://" in block.text:
        make_bucket(request.getfixturevalue("s3"), "lab-sweeps")
    with user_folder(tmp_path):
        folders = prepare(how.runs, shelf)
        key = str(Sweep.at(folders[0]).rows()["key"].iloc[0]) if "KEY" in how.replaced.values() else ""
        replaced = {word: key if text == "KEY" else text for word, text in how.replaced.items()}
        output = [type_line(line, how, replaced) for line in block.commands]
    assert how.says in output[-1]


def type_line(line: str, how: Commands, replaced: Mapping[str, str]) -> str:
    """One line as printed, with the words that `how` adds."""
    words = [replaced.get(word, word) for word in shlex.split(line)]
    for start, more in how.changes.items():
        words += more if line.startswith(start) else []
    if words[0] == "python":
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
    if words[1] == "run" and "--site" not in words:
        words += LOCAL
    return say(*words[1:])


def make_bucket(server: S3, name: str) -> None:
    import boto3

    boto3.client("s3", endpoint_url=server.endpoint).create_bucket(Bucket=name)


@pytest.mark.parametrize("block", blocks_run_as(Python))
def test_python(block: Block, tmp_path: Path, shelf: Path) -> None:
    how = HOW[key_of(block)]
    assert isinstance(how, Python)
    names: dict[str, Any] = {}
    with user_folder(tmp_path):
        prepare(how.runs, shelf)
        if block.text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block.text, names, block.name, block.document, 0)
            assert doctest.DocTestRunner().run(test).failed == 0
            return
        exec(compile(block.text, block.document, "exec"), names)
        assert eval(how.shows, names)


@pytest.mark.parametrize("block", blocks_run_as(Listing))
def test_listings_of_files(block: Block, tmp_path: Path, shelf: Path) -> None:
    how = HOW[key_of(block)]
    assert isinstance(how, Listing)
    with user_folder(tmp_path):
        prepare(how.runs, shelf)
        say("export-mlflow", "results/landscape_skip", "--trust")  # copied here
        folder = block.text.splitlines()[0].removeprefix("DIR/").removeprefix("results/landscape_skip/")
        for line in block.text.splitlines():
            first, *others = line.split("   ")[0].strip().split(", ")
            paths = [first, *(f"{Path(first).parent}/{name}" for name in others)]
            if line.startswith("  "):
                assert all(list(Path("results").glob(f"*/{folder}{path}")) for path in paths), line
            elif not line.startswith("DIR/"):
                assert Path(first).exists(), line


@pytest.mark.parametrize("block", blocks_run_as(Site))
def test_site_files(block: Block, tmp_path: Path) -> None:
    with user_folder(tmp_path):
        Path("site.yaml").write_text(block.yaml, encoding="utf-8")
        printed = say("submit", "sweeps/specs/function_minima.yaml", "--site", "site.yaml", "--dry-run")
    assert "function_minima" in printed


@pytest.mark.parametrize(("document", "line"), inline_commands())
def test_commands_within_sentences_are_spelt_right(document: str, line: str) -> None:
    """Command and options exist; words in capitals stand for the user's own."""
    words = [word for word in shlex.split(line.split(" > ")[0]) if word != "..."][1:]
    known = vars(typer.main.get_command(app))["commands"]
    assert words[0] in known, f"{document}: {line}"
    options = {name for parameter in known[words[0]].params for name in [*parameter.opts, *parameter.secondary_opts]}
    unknown = [word for word in words if word.startswith("--") and word not in {*options, "--help"}]
    assert not unknown, f"{document}: {line}"
