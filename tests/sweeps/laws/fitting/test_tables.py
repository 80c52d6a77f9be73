"""Columns, rules and files: what is read, and what can't be smuggled in."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.rules import chosen
from landsweep.sweeps.laws.fitting.expressions import evaluate, split_assignments
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.tables import read_table
from landsweep.sweeps.laws.power import POWER, POWER_OFFSET
from tests.support.app import app
from tests.support.law_tables import chinchilla_table

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
        with pytest.raises(UsageError, match=r"--fixed: .* is not of the form NAME=VALUE, such as E=1.69"):
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
    data = chinchilla_table(10)
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
    data = chinchilla_table(60)
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


def test_names_with_dots_stand_as_they_are_and_others_are_shown_in_backticks() -> None:
    columns = {"data.args.h1": np.array([0.25, 0.75]), "loss@100": np.array([2.0, 3.0]), "a-b": np.array([1.0, 1.0])}
    assert evaluate("1-data.args.h1", columns) == pytest.approx([0.75, 0.25])
    assert evaluate("2 * data.args.h1 / (data.args.h1 + 1)", columns) == pytest.approx([0.4, 6 / 7])
    assert evaluate("1 / `loss@100`", columns) == pytest.approx([0.5, 1 / 3])
    for text, wanted in (
        ("1 / loss@100", "1 / `loss@100`"),
        ("2*a-b", "2*`a-b`"),
        ("log(loss@100)", "log(`loss@100`)"),
    ):
        with pytest.raises(UsageError, match="stands in backticks in arithmetic: ") as e:
            evaluate(text, columns)
        assert str(e.value).endswith(wanted)
    with pytest.raises(UsageError, match=r"no numeric column 'data\.args\.h2'"):
        evaluate("1-data.args.h2", columns)


@pytest.mark.parametrize("name", ["mixture_joint", "mixture_additive", "mixture_exponential"])
def test_a_family_of_laws_asks_for_its_number(name: str) -> None:
    refused = CliRunner().invoke(app, ["laws", name])
    assert isinstance(refused.exception, UsageError)
    assert f"{name} needs the number of domains after a colon, 1 to 12, such as {name}:2" in str(refused.exception)


def test_whole_numbers_beyond_64_bits_are_numbers_in_every_format(tmp_path: Path) -> None:
    whole = [2**64, 5 * 10**22, 7, 10**30]
    table = [{"C": c, "y": 3.0 * float(c) ** -0.2} for c in whole]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(r) for r in table))
    (tmp_path / "t.json").write_text(json.dumps({"C": whole, "y": [r["y"] for r in table]}))
    (tmp_path / "u.json").write_text(json.dumps(table))
    pd.DataFrame(table).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(table).to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    pd.DataFrame(table).to_csv(tmp_path / "t.txt", index=False, sep=" ")
    for name in ("t.jsonl", "t.json", "u.json", "t.csv", "t.tsv", "t.txt"):
        found = fit(POWER, tmp_path / name, columns={"x": "C"})
        assert found["p"] == pytest.approx(-0.2) and found.converged, name
    assert fit(POWER, pd.DataFrame(table), columns={"x": "C"})["c"] == pytest.approx(3)
    ranked = pd.DataFrame(table).assign(C=[*map(Decimal, whole)])
    assert len(fit(POWER, ranked, columns={"x": "C"}, exclude=["C top 1"]).residuals) == 3


def test_text_in_columns_of_any_separator(tmp_path: Path) -> None:
    for mark in ("\t", ";", ", ", "   "):
        (tmp_path / "t.txt").write_text("# x" + mark + "y\n" + "\n".join(f"{x}{mark}{7 / x}" for x in (1.0, 2.0, 4.0)))
        assert list(read_table(tmp_path / "t.txt").columns) == ["x", "y"]
    (tmp_path / "t.json").write_text('{"a": 3}')
    with pytest.raises(UsageError, match="a list of objects, or an object of names to lists"):
        read_table(tmp_path / "t.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"without Parquet files and without sweep\.json"):
        read_table(tmp_path / "empty")


def test_an_option_that_is_given_twice_adds_up_or_is_refused(tmp_path: Path) -> None:
    data = chinchilla_table(60).rename(columns={"N": "n", "D": "d"})
    data.to_csv(tmp_path / "t.csv", index=False)
    asked = ["fit", str(tmp_path / "t.csv"), "--law", "chinchilla", "--bootstrap", "0", "--json"]
    told = CliRunner().invoke(app, [*asked, "--columns", "N=n", "--columns", "D=d", "--fixed", "alpha=.35", "--fixed",
                                    "beta=.37", "--bounds", "E=1:3", "--bounds", "A=1:"])  # fmt: skip
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["fixed"] == ["alpha", "beta"] and found["bounds"]["E"] == [1, 3] and found["bounds"]["A"] == [1, None]
    for wrong, complaint in (
        (["--columns", "N=n", "--columns", "N=d"], "N is given twice, as 'n' and as 'd'"),
        (["--columns", "N=n,D=d", "--fixed", "E=1,E=2"], "E is given twice"),
        (["--columns", "N=n,D=d", "--bounds", "E=3"], "bounds are LOW:HIGH"),
        (["--columns", "N=n,D=d", "--start", "E=x"], "'x' is no number"),
    ):
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert isinstance(refused.exception, UsageError) and complaint in str(refused.exception), wrong


def test_a_fit_for_each_value_of_a_column(tmp_path: Path) -> None:
    x = np.geomspace(1, 1e4, 12)
    tables = [
        pd.DataFrame({"x": x, "y": c * x**p, "data": n}) for n, c, p in (("web", 3.0, -0.4), ("books", 5.0, -0.2))
    ]
    pd.concat(tables).to_csv(tmp_path / "t.csv", index=False)
    asked = ["fit", str(tmp_path / "t.csv"), "--law", "power", "--by", "data", "--bootstrap", "0"]
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [f["by"] for f in found] == [{"data": "books"}, {"data": "web"}]
    assert [f["theta"][1] for f in found] == pytest.approx([-0.2, -0.4])
    told = CliRunner().invoke(app, asked).output
    assert "data = books" in told and "data = web" in told and "held-out rmse" in told
    for wrong, complaint in ((["--by", "x1"], "no such column"), (["--out", "f.json"], "no --by")):
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert isinstance(refused.exception, UsageError) and complaint in str(refused.exception)


FUNCTION = """
def f(x):
    for step in range(1, 6):
        yield {"step": step, "loss": 2 + x**-0.5 + 1 / step}
    return {"final": 9.0 if x > 60 else 2 + x**-0.5, "status": "diverged" if x > 60 else "ok"}
"""


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A sweep of a function over 7 values, of which the last one diverges."""
    (tmp_path / "of_mine.py").write_text(FUNCTION)
    (tmp_path / "s.yaml").write_text(
        "kind: function\nname: s\nfunction: of_mine:f\naxes: {x: [1, 2, 4, 8, 16, 32, 64]}\n"
    )
    run = [
        sys.executable,
        "-c",
        "from landsweep.orchestrator.commands.cli import main; main()",
        "run",
        "s.yaml",
        "site.executor=local",
    ]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    folder = next(tmp_path.rglob("sweep.json")).parent
    assert set(pd.read_parquet(folder / "rows")["status"]) == {"ok", "diverged"}, done.stdout + done.stderr
    return folder


def test_a_sweep_is_a_table_of_the_rows_that_ended_well(swept: Path) -> None:
    asked = ["--law", "power_offset", "--columns", "loss=final", "--bootstrap", "0"]
    for place in (swept, swept / "rows"):
        told = CliRunner().invoke(app, ["fit", str(place), *asked])
        assert told.exit_code == 0, told.output
        assert "6 of 7 rows fitted; 1 excluded (status != ok)" in told.output and "--every-status" in told.output
    found = fit(POWER_OFFSET, swept, columns={"loss": "final"})
    assert found["Linf"] == pytest.approx(2) and found.selection is not None and found.selection.excluded == 1
    assert len(fit(POWER, swept, columns={"y": "x"}, every_status=True).residuals) == 7
    held = fit(POWER_OFFSET, swept, columns={"loss": "final"}, holdout=["x > 20"])
    assert held.held is not None and held.held.n == 1, "a diverged row is not held out either"


def test_series_of_a_sweep_are_a_table_with_a_column_for_each_metric(swept: Path) -> None:
    table = read_table(swept / "series")
    assert {"key", "step", "loss", "x", "final", "status"} <= set(table.columns)
    ended = table[table.status == "ok"]
    assert len(ended) == 30 and ended.loss.to_numpy() == pytest.approx(2 + ended.x**-0.5 + 1 / ended.step)
    found = fit(POWER_OFFSET, swept / "series", columns={"x": "step"})
    assert len(found.residuals) == 30


@pytest.mark.parametrize("command", ["fit", "transfer-table"])
def test_the_terminal_obeys_no_text_of_a_table(tmp_path: Path, command: str) -> None:
    """A table may be a stranger's: its values are shown, and neither colour, title nor line is forged."""
    evil = "a\x1b]0;title\x07\x1b[31m\u202e\nconverged: all is well"
    lines = [
        {"width": w, "learning_rate": 2.0**r, "loss": w**-0.5 + (r + 5 + w / 64) ** 2, "from": evil}
        for w in (16, 32, 64)
        for r in range(-10, 0)
    ]
    (tmp_path / "t.json").write_text(json.dumps(lines))
    given = ["--law", "power", "--columns", "x=width,y=loss", "--bootstrap", "0"] if command == "fit" else []
    done = CliRunner().invoke(app, [command, str(tmp_path / "t.json"), *given, "--by", "from"])
    assert done.exit_code == 0, done.output
    assert not set("\x1b\x07\u202e") & set(done.stdout)
    assert "a\\x1b]0;title" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("converged: all")]
