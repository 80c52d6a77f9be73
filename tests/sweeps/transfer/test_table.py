"""Transfer judged from tables that are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.transfer.commands import register
from landsweep.sweeps.transfer.table import judged

app = typer.Typer()
register(app)
app.command("other")(lambda: None)  # one command alone would have no name


def runs(slope: float, widths: tuple[int, ...] = (64, 128, 256, 512), seeds: int = 3) -> pd.DataFrame:
    """Parabolas in log2 rate, whose minimum moves by `slope` per doubling from 2^-6."""
    random, lines = np.random.default_rng(0), []
    for doubling, width in enumerate(widths):
        for log_rate in np.arange(-12.0, -1):
            for seed in range(seeds):
                loss = (
                    2 - 0.1 * doubling + 0.05 * (log_rate + 6 - slope * doubling) ** 2 + 1e-3 * random.standard_normal()
                )
                lines.append({"width": width, "lr": 2**log_rate, "val": loss, "seed": seed})
    return pd.DataFrame(lines)


def ask(table: pd.DataFrame, folder: Path, *more: str) -> str:
    table.to_csv(folder / "t.csv", index=False)
    asked = ["transfer-table", str(folder / "t.csv"), "--rate", "lr", "--loss", "val", "--seed", "seed", *more]
    done = CliRunner().invoke(app, asked)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


@pytest.mark.parametrize("slope", [-1.0, -0.5, 0.0])
def test_drift_law_and_penalty_of_known_curves(slope: float, tmp_path: Path) -> None:
    found = json.loads(ask(runs(slope), tmp_path, "--json"))
    assert found["drift"]["per_doubling"] == pytest.approx(slope, abs=0.03)
    assert found["drift"]["low"] - 0.02 <= slope <= found["drift"]["high"] + 0.02 and found["drift"]["bracketed"] == 4
    assert found["law"]["p"] == pytest.approx(slope, abs=0.03)
    for doubling, line in enumerate(found["sizes"]):
        assert np.log2(line["best_rate"]) == pytest.approx(-6 + slope * doubling, abs=0.05)
        assert line["penalty"] == pytest.approx(0.05 * (slope * doubling) ** 2, abs=0.02) and line["note"] == ""
    assert "log2 best rate moves by" in ask(runs(slope), tmp_path)


def test_a_penalty_that_is_not_known_says_why(tmp_path: Path) -> None:
    table = runs(-1.0)
    short = table[(table.width != 512) | (table.lr < 2**-6.5)]
    text = ask(short, tmp_path)
    assert "no penalty: the first size's best rate 0.0156 lies outside 0.000244 to 0.00781" in text
    last = json.loads(ask(short, tmp_path, "--json"))["sizes"][-1]
    assert last["penalty"] is None and last["best_rate"] is not None
    first = table[(table.width != 64) | (table.lr < 2**-6.5)]
    told = json.loads(ask(first, tmp_path, "--json"))["sizes"]
    assert all(line["penalty"] is None for line in told) and told[0]["best_rate"] is None
    assert "not bracketed: the loss is lowest at an end" in told[0]["note"]
    assert "first size's best rate is not bracketed" in told[2]["note"]
    diverged = table.assign(val=table.val.where((table.width != 512) | (table.lr < 2**-6.5)))
    assert "15 rows have no loss" in ask(diverged, tmp_path) and "lies outside" in ask(diverged, tmp_path)


def test_tables_that_can_not_be_judged_are_refused(tmp_path: Path) -> None:
    table = runs(0.0)
    for wrong, complaint in (
        (("--over", "depth"), "--over depth: there is no such column; the table has width, lr, val, seed"),
        (("--over", "val", "--loss", "width"), "sizes must be whole numbers from 1"),
    ):
        with pytest.raises(UsageError, match=complaint):
            ask(table, tmp_path, *wrong)
    with pytest.raises(UsageError, match=r"two runs at the rate .*; name the column of the seed with --seed"):
        judged(table, rate="lr", over="width", loss="val", seed=None)
    with pytest.raises(UsageError, match="with the same seed"):
        judged(pd.concat([table, table]), rate="lr", over="width", loss="val", seed="seed")
    with pytest.raises(UsageError, match="rates must be positive"):
        judged(table.assign(lr=0.0), rate="lr", over="width", loss="val", seed="seed")
    with pytest.raises(UsageError, match="--seed seed: the column is empty in 33 rows"):
        judged(table.assign(seed=table.seed.where(table.width > 64)), rate="lr", over="width", loss="val", seed="seed")
    for wrong, complaint in (
        (("--loss", "lr"), "--rate lr, --over width, --loss lr, --seed seed: each must be a column of its own"),
        (("--exclude", "width > 1"), "no row is left to judge"),
    ):
        with pytest.raises(UsageError, match=complaint):
            ask(table, tmp_path, *wrong)


def test_what_is_not_known_is_null_in_json_and_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    table = runs(0.0, seeds=1).rename(columns={"width": "wi\x1b[31mdth"})
    table.loc[table["wi\x1b[31mdth"] == 64, "val"] = np.nan
    found = json.loads(ask(table, tmp_path, "--over", "wi\x1b[31mdth", "--json"), parse_constant=pytest.fail)
    first = found["sizes"][0]
    assert (first["lowest_point"], first["loss"], first["note"]) == (None, None, "no run has a loss")
    assert found["drift"]["low"] is None and found["sizes"][1]["best_rate"] is not None
    assert "\x1b" not in ask(table, tmp_path, "--over", "wi\x1b[31mdth")


def test_groups_are_judged_apart(tmp_path: Path) -> None:
    both = pd.concat([runs(-1.0).assign(arm="sp"), runs(0.0).assign(arm="mup")])
    found = json.loads(ask(both, tmp_path, "--by", "arm", "--json"))
    assert [f["by"]["arm"] for f in found] == ["mup", "sp"]
    assert [f["drift"]["per_doubling"] for f in found] == pytest.approx([0, -1], abs=0.03)
    assert ask(both, tmp_path, "--by", "arm").count("drift: ") == 2
