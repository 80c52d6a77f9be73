"""Phases: rules, medians of cells, presets on planted tables, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.sweeps.measure.commands import register
from landsweep.sweeps.measure.phases import PRESETS, Diagram, PhaseRules, phase_diagram, phase_section, rules_named
from landsweep.sweeps.measure.phases.section import phase_text
from tests.support.measures import KIND, measure_spec, measured, small_zoo

CORNERS = {  # sharpness, connectivity, similarity, loss
    "I": (50.0, -20.0, 0.2, 1.0),
    "II": (50.0, 3.0, 0.2, 1.0),
    "III": (2.0, -5.0, 0.5, 0.01),
    "IV-A": (2.0, -0.2, 0.5, 0.01),
    "IV-B": (2.0, 0.1, 0.9, 0.01),
}


def planted(seeds: int = 3) -> pd.DataFrame:
    """One cell for each phase, a load of its own each; one seed in three is far off and must not matter."""
    lines = []
    for width, (sharpness, connectivity, similarity, loss) in enumerate(CORNERS.values()):
        for seed in range(seeds):
            off = 1e3 if seed == 1 and seeds > 2 else 0.0
            values = {"sharpness": sharpness + off, "connectivity": connectivity - off, "similarity": similarity}
            lines.append({"width": 2**width, "lr": 0.1, "seed": seed, "train_loss": loss + off, **values})
    return pd.DataFrame(lines)


def phases(diagram: Diagram) -> list[object]:
    return [None if pd.isna(p) else p for p in diagram.cells["phase"]]


@pytest.mark.parametrize("name", ["taxonomy", "phase_zoo"])
def test_the_papers_phases_on_a_planted_table(name: str) -> None:
    diagram = phase_diagram([planted()], PRESETS[name])
    assert phases(diagram) == list(CORNERS)
    assert diagram.columns["load"] == "width" and diagram.columns["temperature"] == "lr"
    assert list(diagram.cells["sharpness"]) == [c[0] for c in CORNERS.values()]
    assert list(diagram.cells["rows"]) == [3] * 5
    assert diagram.counts() == dict.fromkeys(CORNERS, 1) | {"": 0}


def test_underfitted_cells_stand_apart() -> None:
    rules = PRESETS["taxonomy_underfit"]
    assert phases(phase_diagram([planted()], rules)) == ["U", "U", "III", "IV-A", "IV-B"]
    assert phases(phase_diagram([planted()], rules.with_thresholds({"underfit": 2}))) == list(CORNERS)


def test_three_regimes() -> None:
    assert phases(phase_diagram([planted()], PRESETS["three_regimes"])) == ["I", "II-A", "I", "II-A", "II-B"]


def test_every_point_of_a_preset_has_exactly_one_phase() -> None:
    draw = np.random.default_rng(0)
    n = 500
    cells = pd.DataFrame(
        {
            "sharpness": 10 ** draw.uniform(-1, 3, n),
            "connectivity": draw.uniform(-30, 30, n),
            "similarity": draw.uniform(0, 1, n),
            "loss": 10 ** draw.uniform(-3, 1, n),
        }
    )
    for rules in PRESETS.values():
        alone = [rules.model_copy(update={"phases": (phase,)}).label(cells) for phase in rules.phases]
        if rules.name != "taxonomy_underfit":  # there the first phase takes cells of the others
            assert all(sum(label is not None for label in one) == 1 for one in zip(*alone, strict=True))
        assert set(rules.label(cells)) == {p.label for p in rules.phases}


def test_thresholds_are_given_and_said() -> None:
    rules = PRESETS["taxonomy"].with_thresholds({"similar": 0.95})
    diagram = phase_diagram([planted()], rules)
    assert phases(diagram)[-1] == "IV-A"
    assert "similar = 0.95 (given)" in phase_text(diagram)
    assert "sharp = 10 (ours)" in phase_text(diagram)
    with pytest.raises(UsageError, match="no threshold 'warm'; there are sharp, barrier, similar"):
        rules.with_thresholds({"warm": 1})


def test_quantities_of_several_tables_and_arithmetic() -> None:
    whole = planted(1)
    zoo = whole[["width", "lr", "seed", "train_loss"]].assign(status="ok", key="a")
    zoo.loc[len(zoo)] = {"width": 1, "lr": 0.1, "seed": 9, "train_loss": 1e9, "status": "failed", "key": "b"}
    measured = whole[["width", "lr", "connectivity", "similarity"]].assign(hessian_e=np.log(whole["sharpness"]))
    diagram = phase_diagram([zoo, measured], PRESETS["taxonomy"])
    assert diagram.columns["sharpness"] == "exp(hessian_e)"
    assert phases(diagram) == list(CORNERS)
    assert diagram.left_out == 1 and diagram.rows == 11
    barrier = measured.assign(barrier=-measured["connectivity"] / 100).drop(columns="connectivity")
    named = phase_diagram([zoo, barrier], PRESETS["taxonomy"], {"connectivity": "-100 * barrier"})
    assert phases(named) == list(CORNERS)


def test_a_missing_value_gives_no_phase() -> None:
    table = planted(1)
    table.loc[table["width"] == 8, "similarity"] = np.nan
    diagram = phase_diagram([table], PRESETS["taxonomy"])
    assert phases(diagram) == ["I", "II", "III", None, "IV-B"]
    assert diagram.counts()[""] == 1


def test_what_a_table_must_say() -> None:
    table = planted(1)
    with pytest.raises(UsageError, match=r"no similarity .*--columns similarity=COLUMN"):
        phase_diagram([table.drop(columns="similarity")], PRESETS["taxonomy"])
    with pytest.raises(UsageError, match="load may be one of width, density, which all vary"):
        phase_diagram([table.assign(density=np.arange(5.0))], PRESETS["taxonomy"])
    with pytest.raises(UsageError, match="know no 'heat'; they know load, temperature, sharpness"):
        phase_diagram([table], PRESETS["taxonomy"], {"heat": "lr"})
    with pytest.raises(UsageError, match="no row has a load"):
        phase_diagram([table.assign(width=np.nan, load=np.nan)], PRESETS["taxonomy"], {"load": "load"})
    twice = pd.concat([table.assign(measure="top"), table.assign(measure="top_test")])
    with pytest.raises(UsageError, match="sharpness stands in rows of several measures: top, top_test; leave"):
        phase_diagram([twice], PRESETS["taxonomy"])
    with pytest.raises(UsageError, match=r"several checkpoints: last, step-10; .* 'of_label == step-10'"):
        phase_diagram([table.assign(of_label=["last"] * 4 + ["step-10"])], PRESETS["taxonomy"])
    assert phase_diagram([table.assign(density=0.5)], PRESETS["taxonomy"]).columns["load"] == "width"


def test_own_rules_are_read_and_checked(tmp_path: Path) -> None:
    data = PRESETS["three_regimes"].model_dump(mode="json")
    file = tmp_path / "mine.yaml"
    file.write_text(write_yaml(data), encoding="utf-8")
    assert rules_named(str(file)) == PRESETS["three_regimes"]
    with pytest.raises(UsageError, match="taxonomy, taxonomy_underfit, phase_zoo, three_regimes"):
        rules_named("taxonomie")
    for change, words in (
        ({"phases": [{"label": "A", "when": "loss > {hot}", "doc": "?"}]}, "no threshold 'hot'"),
        ({"phases": [{"label": "A", "when": "loss > 1", "doc": "?"}] * 2}, "each label stands once"),
        ({"quantities": {"load": {"doc": "?", "columns": ["x"]}}}, "name of an axis"),
    ):
        file.write_text(write_yaml({**data, **change}), encoding="utf-8")
        with pytest.raises(SpecError, match=words):
            rules_named(str(file))
    own = PhaseRules.model_validate({**data, "phases": [{"label": "A", "when": "speed > 1", "doc": "?"}]})
    with pytest.raises(UsageError, match="no column 'speed'"):
        phase_diagram([planted(1)], own)


def test_the_section_shows_every_cell() -> None:
    section = phase_section(phase_diagram([planted()], PRESETS["taxonomy"]))
    figure, cells, rules = section.parts
    assert [line[-1] for line in cells.lines] == list(CORNERS)  # type: ignore[union-attr]
    assert "IV-B, flat, well connected, similar: 1" in figure.caption  # type: ignore[union-attr]
    assert rules.lines[0][-1] == "sharpness >= 10.0 and connectivity < -1.0"  # type: ignore[union-attr]


def run(*words: str) -> str:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)  # with one command alone there are no names of commands
    done = CliRunner().invoke(app, ["phases", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    planted().assign(lr="0.1", bs=32).to_csv(table, index=False)
    text = run(str(table), "--columns", "temperature=bs", "--out", str(tmp_path / "out"))
    assert text.splitlines()[1].split() == ["32", *CORNERS]
    assert (tmp_path / "out" / "phases.png").stat().st_size > 10_000
    assert list(pd.read_csv(tmp_path / "out" / "phases.csv")["phase"]) == list(CORNERS)
    data = json.loads(run(str(table), "--exclude", "width == 1", "--thresholds", "sharp=1", "--json"))
    assert data["counts"] == {"I": 1, "II": 3, "III": 0, "IV-A": 0, "IV-B": 0, "none": 0}
    assert data["rules"]["thresholds"]["sharp"]["value"] == 1
    rules = tmp_path / "rules.yaml"
    rules.write_text(run("--rules", "phase_zoo", "--print-rules"), encoding="utf-8")
    assert run(str(table), "--rules", str(rules)) == run(str(table), "--rules", "phase_zoo")
    with pytest.raises(UsageError, match="give a TABLE"):
        run()


PHASES = {"rules": "phase_zoo", "thresholds": {"underfit": 1.5}}
PAIRS = {"choose": "pairs", "within": ["net.hidden.0", "optimizer.learning_rate"], "over": "seed"}
FIELDS = {
    "subjects": ["each", PAIRS],
    "measures": {
        "loss": {"measure": "losses"},
        "curve": {"measure": "curve", "points": 5, "steps": 2},
        "cka": {"measure": "cka"},
    },
    "evaluators": {"train": {"split": "train", "first": 50}},
}


def test_the_report_of_a_sweep_shows_the_phases_that_its_spec_asks_for(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", axes={"net.hidden.0": [4, 8]})
    plain = measure_spec(tmp_path, **FIELDS)
    asked = measure_spec(tmp_path, **FIELDS, phases=PHASES)
    assert asked.context() == plain.context()  # a label: no row is computed anew
    rows, _ = measured(asked, tmp_path)
    series = Sweep.at(tmp_path / "out").series()
    report = KIND.report(asked, rows, series)
    assert [section.title for section in report.sections][:2] == ["Phases", "Models"]
    wanted = phase_diagram([rows], PRESETS["phase_zoo"].with_thresholds({"underfit": 1.5}))
    counts = {f"phase_{label}".replace("-", "_"): count for label, count in wanted.counts().items() if label}
    assert sum(counts.values()) == 4
    assert {name: report.summary[name] for name in counts} == counts
    assert "Phases" not in [section.title for section in KIND.report(plain, rows, series).sections]
    none_left = measure_spec(tmp_path, **FIELDS, phases={**PHASES, "exclude": ["measure != none"]})
    section = KIND.report(none_left, rows, series).sections[0]
    assert str(section.parts[0]).startswith("There is no phase diagram: the table has no load")


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ({"rules": "taxonomie"}, "phases.*'taxonomie' is none of taxonomy, taxonomy_underfit"),
        ({"thresholds": {"warm": 1}}, "phases.*no threshold 'warm'; there are sharp, barrier, similar"),
        ({"columns": {"heat": "of_seed"}}, "phases.*know no 'heat'; they know load, temperature, sharpness"),
        ({"rules": {"name": "mine"}}, "phases.*rules"),
    ],
)
def test_phases_that_no_sweep_can_have_are_refused_when_the_spec_is_read(
    phases: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=words):
        KIND.parse({**KIND.example().model_dump(mode="json"), "phases": phases}, "spec")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, r"no column of the rows holds the similarity .*cka_last.*add a measure"),
        ({"similarity": "-losss"}, "similarity is '-losss', but the rows have no column 'losss'; they have"),
    ],
)
def test_phases_that_no_measure_gives_are_refused_before_any_unit(
    columns: dict[str, str], words: str, tmp_path: Path
) -> None:
    small_zoo(tmp_path / "zoo", recipe={"steps": 2, "checkpoints": {}, "evaluate": {}})
    fields = {"subjects": "each", "measures": {"loss": {"measure": "losses"}}, "evaluators": FIELDS["evaluators"]}
    axes = {"load": "seed", "connectivity": "-loss"}
    spec = measure_spec(tmp_path, **fields, phases={**PHASES, "columns": axes | columns})
    with pytest.raises(SpecError, match=words):
        measured(spec, tmp_path)
    own = measure_spec(tmp_path, **fields, phases={**PHASES, "columns": {**axes, "similarity": "-accuracy / loss"}})
    assert set(measured(own, tmp_path)[0]["status"]) == {"ok"}
