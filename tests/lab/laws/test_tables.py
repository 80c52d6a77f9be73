"""Columns, rules and files: what is read, and what can't be smuggled in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import UsageError
from sweeps.lab.laws.cases import read_table
from sweeps.lab.laws.commands import register
from sweeps.lab.laws.expressions import evaluate, split_assignments
from sweeps.lab.laws.rules import chosen
from tests.lab.laws.test_fit import runs

register(app)
COLUMNS = {"C": np.array([6.0, 12.0]), "N": np.array([1.0, 2.0]), "Training FLOP": np.array([3.0, 4.0])}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("C / 6 / N", [1, 1]),
        ("`Training FLOP` / N", [3, 2]),
        ("Training FLOP", [3, 4]),
        ("-N**2 + 2*(C-1)", [9, 18]),
        ("log(exp(N)) + sqrt(C*C) + log10(100)", [9, 16]),
        ("2e3", [2000, 2000]),
    ],
)
def test_arithmetic_of_columns(text: str, wanted: list[float]) -> None:
    assert evaluate(text, COLUMNS) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "attack",
    [
        "__import__('os').system('true')",
        "N.__class__",
        "().__class__.__bases__",
        "N[0]",
        "[x for x in (1,)]",
        "lambda: 1",
        "exp(N, N)",
        "exp(*N)",
        "open('x')",
        "'a' * 9",
        "True + N",
        "N if N else C",
        "(y := 3)",
        "f'{N}'",
        "9 ** 9 ** 9 ** 9 ** 9 if 1 else 2",
        "1" + "0" * 400,
        "N; C",
        "N\nimport os",
        "(" * 190 + "N" + ")" * 9,
        "N + " * 100 + "N",
        "`N",
        "",
    ],
)
def test_anything_else_is_refused(attack: str) -> None:
    with pytest.raises(UsageError):
        evaluate(attack, COLUMNS)


def test_huge_powers_of_numbers_are_floats_and_end_at_once() -> None:
    assert np.isinf(evaluate("9 ** 9 ** 9 ** 9", COLUMNS)).all()


def test_assignments() -> None:
    assert split_assignments("N=Model Size, C=`a,b`,D=C/6/N", "--columns") == [
        ("N", "Model Size"),
        ("C", "`a,b`"),
        ("D", "C/6/N"),
    ]
    for wrong in ("N", "N=", "=3", "a b=3"):
        with pytest.raises(UsageError, match=r"--fixed: .* is no NAME=VALUE, such as E=1.69"):
            split_assignments(wrong, "--fixed")


@pytest.mark.parametrize(("option", "name"), [("--out", "folder"), ("--plot", "folder.png")])
def test_files_that_are_folders_are_refused_before_any_work(tmp_path: Path, option: str, name: str) -> None:
    (tmp_path / name).mkdir()
    done = CliRunner().invoke(app, ["fit", "absent.csv", "--law", "power", option, str(tmp_path / name)])
    assert isinstance(done.exception, UsageError) and "that is a folder" in str(done.exception)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("v top 2", [0, 1, 1, 0]),
        ("v bottom 1", [1, 0, 0, 0]),
        ("v >= 2", [0, 1, 1, 0]),
        ("v < 2 and kind == b", [0, 0, 0, 0]),
        ("v > 1 and kind != a", [0, 0, 1, 0]),
        ("kind == 'a'", [1, 1, 0, 0]),
        ("v missing", [0, 0, 0, 1]),
        ("`v` == 1e0", [1, 0, 0, 0]),
    ],
)
def test_rules(rule: str, wanted: list[int]) -> None:
    table = pd.DataFrame({"v": [1.0, 3.0, 2.0, np.nan], "kind": ["a", "a", "b", "c"]})
    assert list(chosen(rule, table)) == [bool(w) for w in wanted]


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("v > high", "'high' is no number"),
        ("kind > a", "only == and !="),
        ("kind top 3", "holds text"),
        ("v in 1", "can't be read"),
        ("", "can't be read"),
        ("__import__('os') > 1", "no column"),
    ],
)
def test_rules_that_are_refused(rule: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        chosen(rule, pd.DataFrame({"v": [1.0], "kind": ["a"]}))


def test_all_formats_give_the_same_table(tmp_path: Path) -> None:
    data = runs(10)
    data.to_csv(tmp_path / "t.csv", index=False)
    data.to_parquet(tmp_path / "t.parquet")
    data.to_json(tmp_path / "t.jsonl", orient="records", lines=True, double_precision=15)
    for ending in ("csv", "parquet", "jsonl"):
        pd.testing.assert_frame_equal(read_table(tmp_path / f"t.{ending}"), data, rtol=1e-12)
    (tmp_path / "t.xlsx").write_bytes(b"x")
    (tmp_path / "u.parquet").write_bytes(b"x")
    (tmp_path / "e.csv").write_text("N,D\n")
    for name, complaint in (
        ("t.xlsx", "ending must be one of"),
        ("no.csv", "there is no table"),
        ("u.parquet", "can't be read"),
        ("e.csv", "holds no rows"),
    ):
        with pytest.raises(UsageError, match=complaint):
            read_table(tmp_path / name)


def test_the_command_fits_writes_and_draws(tmp_path: Path) -> None:
    data = runs(60)
    data["C"] = 6 * data.N * data.D
    data.drop(columns="D").rename(columns={"N": "Model Size"}).to_csv(tmp_path / "t.csv", index=False)
    asked = [
        "fit", str(tmp_path / "t.csv"), "--law", "chinchilla", "--columns", "N=Model Size,D=C/6/N", "--bootstrap", "40",
        "--exclude", "loss top 2", "--holdout", "N > 5e9",
    ]  # fmt: skip
    told = CliRunner().invoke(app, [*asked, "--plot", str(tmp_path / "f.png"), "--out", str(tmp_path / "f.json")])
    assert told.exit_code == 0, told.output
    for words in ("L = E + A/N^alpha", "2 excluded (loss top 2)", "converged", "bootstrap, 40 draws", "held out:"):
        assert words in told.output
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(CliRunner().invoke(app, [*asked, "--json", "--profile"]).stdout)
    low, high = found.pop("profiles")["alpha"]
    assert low < found["parameters"][3]["value"] < high
    assert found == json.loads((tmp_path / "f.json").read_text())
    for wrong, complaint in (
        (["--plot", "f.pdf"], "ends in .png"),
        (["--out", str(tmp_path / "no" / "f.json")], "there is no folder"),
        (["--law", "power", "--out", "f.json"], "belong to one fit"),
        (["--fixed", "alpha=x"], "is no number"),
    ):
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert isinstance(refused.exception, UsageError) and complaint in str(refused.exception)
    assert found["parameters"][3]["value"] == pytest.approx(0.35, rel=0.1)


def test_the_command_lists_the_laws() -> None:
    assert "E + A/N^alpha" in CliRunner().invoke(app, ["laws"]).output
    told = CliRunner().invoke(app, ["laws", "chinchilla"]).output
    assert "tokens" in told and "exponent of size" in told
    assert json.loads(CliRunner().invoke(app, ["laws", "chinchilla", "--json"]).output)["inputs"][0]["name"] == "N"
