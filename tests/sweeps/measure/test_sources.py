"""Sources of models and measures: other kinds of sweeps, code of others, unfinished sweeps, own functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError, Untrusted, UsageError
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.measures import KIND, measure_spec, measured, small_zoo
from tests.support.searches import KIND as SEARCHES
from tests.support.searches import search_spec
from tests.support.zoos import SMALL_RECIPE, zoo_spec

NORM = {"norm": {"doc": "Euclidean norm of the weights"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of two models, and measures of one's own."""
    folder = tmp_path_factory.mktemp("home")
    small_zoo(folder / "zoo", rates=(0.05,))
    (folder / "own_measures_of_test.py").write_text(
        "def norm(subject, times=1):\n"
        "    (model,) = subject.models\n"
        "    squares = [float(p.detach().double().square().sum()) for p in model.build().parameters()]\n"
        "    return {'norm': times * sum(squares) ** 0.5, 'squares': squares}\n"
        "def some(subject):\n"
        "    if subject.models[0].row['seed'] == 1:\n"
        "        raise ArithmeticError('no norm')\n"
        "    return norm(subject)\n"
        "def spoils(subject, seen=()):\n"
        "    given = norm(subject)\n"
        "    given['norm'] += len(seen)\n"
        "    seen.append(1)\n"
        "    for samples in subject.samples.values():\n"
        "        samples.inputs.mul_(2)\n"
        "        samples.targets.zero_()\n"
        "    for tensor in subject.models[0].state.values():\n"
        "        tensor.zero_()\n"
        "    return given\n"
        "def size(subject):\n"
        "    (samples,) = subject.samples.values()\n"
        "    total = sum(float(t.double().abs().sum()) for t in subject.models[0].state.values())\n"
        "    return {'size': total + float(samples.inputs.sum() + samples.targets.sum())}\n"
        "def other(subject):\n"
        "    return {'length': 1.0}\n",
        encoding="utf-8",
    )
    return folder


def own(function: str, **fields: Any) -> dict[str, Any]:
    return {"mine": {"measure": "own", "function": f"own_measures_of_test:{function}", "values": NORM, **fields}}


def test_a_measure_of_ones_own_gives_its_columns_and_curves(home: Path, tmp_path: Path) -> None:
    spec = measure_spec(home, measures=own("norm", args={"times": 2}))
    rows, _ = measured(spec, home, str(tmp_path / "out"))
    for row in rows.itertuples():
        assert row.norm == pytest.approx(2 * Zoo(home / "zoo")[row.of_key].vector().double().norm().item())


def test_what_a_measure_writes_into_what_it_is_given_reaches_no_other(home: Path, tmp_path: Path) -> None:
    size = {"measure": "own", "function": "own_measures_of_test:size", "values": {"size": {}}}
    alone, _ = measured(measure_spec(home, measures={"size": size}), home, str(tmp_path / "alone"))
    first = {**own("spoils", args={"seen": []}), "size": size}
    both, _ = measured(measure_spec(home, measures=first), home, str(tmp_path / "both"))
    norms, _ = measured(measure_spec(home, measures=own("norm")), home, str(tmp_path / "norms"))
    assert both["size"].dropna().tolist() == alone["size"].tolist()
    assert both["norm"].dropna().tolist() == norms["norm"].tolist()


def test_a_subject_that_raises_fails_alone(home: Path, tmp_path: Path) -> None:
    rows, _ = measured(measure_spec(home, measures=own("some")), home, str(tmp_path / "out"))
    assert rows.set_index("seed")["status"].to_dict() == {0: "ok", 1: "failed"}
    assert "no norm" in rows.set_index("seed").loc[1, "error"]


def test_what_a_function_gives_must_be_what_is_declared(home: Path, tmp_path: Path) -> None:
    rows, _ = measured(measure_spec(home, measures=own("other")), home, str(tmp_path / "out"))
    assert set(rows["status"]) == {"failed"}
    assert rows["error"].str.contains("gave \\['length'\\], but `values` declares \\['norm'\\]").all()


def test_a_function_that_is_not_there_is_refused_before_work_begins(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"measures\.mine: .*has no 'missing'"):
        measured(measure_spec(home, measures=own("missing")), home, str(tmp_path / "out"))


def test_the_checkpoints_of_a_run_are_one_subject_in_order(home: Path, tmp_path: Path) -> None:
    spec = measure_spec(
        home,
        of=[{"sweep": "zoo", "checkpoints": ["all"]}],
        subjects="along",
        measures={"path": {"measure": "distance_from_start"}},
    )
    rows, _ = measured(spec, home, str(tmp_path / "out"))
    assert list(rows["of_count"]) == [3, 3]
    for row in rows.itertuples():
        labels = ["step-000000", "step-000020", "last"]
        assert row.of_models == ", ".join(f"{row.of_key} at {label}" for label in labels)


def test_one_checkpoint_is_no_run(home: Path) -> None:
    spec = measure_spec(home, subjects="along", measures={"path": {"measure": "distance_from_start"}})
    with pytest.raises(SpecError, match=r"only one checkpoint of \w+ is chosen \(last\).*checkpoints: \[all\]"):
        KIND.planner(spec)


def search(folder: Path, checkpoints: dict[str, Any]) -> None:
    """A search over learning rates, in this process."""
    recipe = {**SMALL_RECIPE, "checkpoints": checkpoints}
    space = {"optimizer.learning_rate": {"log_uniform": [0.01, 0.1]}}
    spec = search_spec(recipe=recipe, space=space, budget={"units": 2})
    site = Site(executor="local", tracking=False)
    run_sweep(SEARCHES, spec, site, folder, folder=folder.parent, watch=QuietWatch())


def test_the_models_of_a_search_can_be_measured(tmp_path: Path) -> None:
    search(tmp_path / "zoo", {"last": True})
    rows, _ = measured(measure_spec(tmp_path), tmp_path)
    assert len(rows) == len(Zoo(tmp_path / "zoo"))
    assert list(rows["loss"]) == pytest.approx(list(rows["of_test_loss"]), rel=1e-5)


def test_a_sweep_that_kept_no_weights_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "zoo", {"last": False})
    with pytest.raises(UsageError, match=r"none of its \d+ rows has weights.*run it with checkpoints: \{last: true\}"):
        measure_spec(tmp_path)


def _claim(zoo: Path, **changes: Any) -> None:
    """Change what the zoo's head says of its spec."""
    head = json.loads((zoo / "sweep.json").read_text(encoding="utf-8"))
    head["spec"] |= changes
    (zoo / "sweep.json").write_text(json.dumps(head), encoding="utf-8")


def test_an_unfinished_zoo_is_measured_as_far_as_it_is_and_the_report_says_so(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", seeds=1)
    whole = zoo_spec(recipe=SMALL_RECIPE, axes={"optimizer.learning_rate": [0.01, 0.1]}, seeds={"range": 3})
    _claim(tmp_path / "zoo", seeds=whole.model_dump(mode="json")["seeds"])
    spec = measure_spec(tmp_path)
    rows, end = measured(spec, tmp_path)
    assert end.done == 2
    report = KIND.report(spec, rows, rows.head(0).assign(key=[], step=[], metric=[], value=[]))
    assert "zoo has 2 of 6 rows so far" in str(report.sections[0].parts[0])


def test_code_that_a_stranger_s_zoo_names_runs_only_if_it_is_trusted(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "nets_of_stranger.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    net = {"net": "own", "build": "nets_of_stranger:net"}
    small_zoo(tmp_path / "mine", seeds=1, rates=(0.05,), recipe={"net": net})
    (tmp_path / "mine").rename(tmp_path / "zoo")  # a moved folder is not known as the user's own
    with pytest.raises(Untrusted, match="nets_of_stranger:net"):
        measured(measure_spec(tmp_path), tmp_path)
    rows, _ = measured(measure_spec(tmp_path, of=[{"sweep": "zoo", "trust": True}]), tmp_path)
    assert rows["loss"][0] == pytest.approx(rows["of_test_loss"][0], rel=1e-5)
