"""What can't be measured is refused before work begins, with what was given, what is allowed, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError, SweepMismatch, UsageError
from tests.support.measures import KIND, measure_spec, measured, small_zoo

PAIRS = {"choose": "pairs", "over": "seed"}
DISTANCE = {"far": {"measure": "distance"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of two widths, two seeds each."""
    folder = tmp_path_factory.mktemp("home")
    small_zoo(folder / "zoo", rates=(0.05,), axes={"net.hidden": [[4], [8]]})
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"of": [{"sweep": "nowhere"}]}, r"of\.0\.sweep: nowhere: there is no folder .*run that sweep first"),
        ({"of": [{"sweep": "zoo", "where": "seed > 7"}]}, r"of\.0.*'seed > 7' chooses 0 of its 4 rows"),
        ({"of": [{"sweep": "zoo", "where": "breadth > 7"}]}, r"there is no column 'breadth'; the table has .*seed"),
        ({"of": [{"sweep": "zoo", "where": "seed is 7"}]}, r"rule 'seed is 7' can't be read; give COLUMN < NUMBER"),
        ({"of": [{"sweep": "zoo", "key": "zz"}]}, r"'zz' is not in the zoo .*no key begins with it"),
        (
            {"of": [{"sweep": "zoo", "checkpoints": ["best"]}]},
            r"4 of 4 models have no checkpoint 'best', such as .*all of them have step-000000, step-000020, last",
        ),
        (
            {"of": [{"sweep": "zoo", "checkpoints": ["step-000099"]}]},
            r"no checkpoint 'step-000099'",
        ),
        ({"of": [{"sweep": "."}]}, r"is no zoo: it has neither sweep.json"),
    ],
)
def test_a_ref_that_can_not_be_followed(home: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure_spec(home, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"measures": DISTANCE},
            r"measures\.far: distance measures a pair, but subjects gives each; add `\{choose: pairs",
        ),
        ({"subjects": PAIRS}, r"measures\.loss: losses measures a model, but subjects gives pairs; add `each`"),
        ({"subjects": ["each", PAIRS]}, r"subjects: pairs gives each measure a pair, but none of \['loss'\] takes one"),
        ({"measures": {"loss": {"measure": "losses", "evaluator": "tests"}}}, r"there is no evaluator 'tests'"),
        ({"of": [{"sweep": "zoo", "where": "seed == 0", "key": "ab"}]}, r"give `where`.* or `key`"),
        ({"of": [{"sweep": "zoo", "checkpoints": ["all", "last"]}]}, r"`all` alone"),
        ({"of": [{"name": "a", "net": "mlp", "hidden": [4]}]}, r"data: a is a network without a recipe"),
    ],
)
def test_fields_that_do_not_fit_together(home: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        measure_spec(home, **fields)


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        (
            {"choose": "pairs", "within": ["width"]},
            r"there is no column 'width'; the models have key, label, step, .*net.hidden",
        ),
        ({"choose": "pairs", "over": "rate"}, r"there is no column 'rate'"),
        ({"choose": "pairs", "within": ["seed"], "over": "seed"}, r"chooses nothing of 4 models; no two of them"),
        ({"choose": "pairs", "within": [], "over": "seed"}, r"weights of other names or shapes.*`within`"),
        ({"choose": "pairs", "within": ["seed"], "over": "net.hidden"}, r"weights of other names or shapes"),
    ],
)
def test_pairs_that_can_not_be_compared(home: Path, subjects: dict[str, Any], message: str) -> None:
    spec = measure_spec(home, subjects=subjects, measures=DISTANCE)
    with pytest.raises(SpecError, match=message):
        KIND.planner(spec)


def test_regression_has_no_cross_entropy(tmp_path: Path) -> None:
    recipe = {"data": {"source": "teacher_student"}}
    small_zoo(tmp_path / "zoo", seeds=1, rates=(0.01,), recipe=recipe)
    with pytest.raises(UsageError, match=r"evaluators.test: the targets are no classes; use loss: mse"):
        measured(measure_spec(tmp_path), tmp_path)
    mse = {"test": {"split": "test", "loss": "mse"}}
    rows, _ = measured(measure_spec(tmp_path, evaluators=mse), tmp_path)
    assert rows["loss"][0] == pytest.approx(rows["of_test_loss"][0], rel=1e-5)


def test_data_of_another_shape(home: Path, tmp_path: Path) -> None:
    spec = measure_spec(home, data={"source": "sparse_parity"})
    with pytest.raises(UsageError, match=r"measures\.loss: the network of \w+ does not take these samples"):
        measured(spec, home, str(tmp_path / "out"))
    assert not (tmp_path / "out/rows").exists() or not list((tmp_path / "out/rows").iterdir())


def _other_weights(zoo: Path) -> str:
    """Change one number of one model; gives its key."""
    row = Zoo(zoo).rows.iloc[0]
    file = zoo / row["weights_file"]
    tensors = load_file(file)
    name = next(n for n in tensors if n.startswith(f"{int(row['weights_pack'])}/last/"))
    tensors[name] = tensors[name].clone()
    tensors[name][int(row["weights_slot"])].view(-1)[0] += 1
    from safetensors import safe_open

    with safe_open(file, "pt") as f:
        about = f.metadata()
    save_file(tensors, file, about)
    return str(row["key"])


def test_a_zoo_with_other_weights_is_refused_when_the_spec_is_read_again(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", seeds=1)
    measured(measure_spec(tmp_path), tmp_path)
    key = _other_weights(tmp_path / "zoo")
    with pytest.raises(SweepMismatch, match=rf"of\.{key} at last\.weights: was \"\w+\", is \"\w+\""):
        measured(measure_spec(tmp_path), tmp_path)


def test_a_zoo_that_changes_after_the_spec_was_read_is_refused_too(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", seeds=1)
    spec = measure_spec(tmp_path)
    key = _other_weights(tmp_path / "zoo")
    with pytest.raises(UsageError, match=rf"1 of its models are not as they were pinned:\n  - {key} at last"):
        measured(spec, tmp_path)


def test_a_zoo_that_is_gone_is_named(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", seeds=1)
    spec = measure_spec(tmp_path)
    (tmp_path / "zoo").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"of\.0\.sweep: zoo: there is no folder"):
        measured(spec, tmp_path)


def test_one_damaged_subject_fails_alone(home: Path, tmp_path: Path) -> None:
    """A network from a file whose weights are not finite gives a diverged row; its neighbours are whole."""
    net = Zoo(home / "zoo")[0].module()
    torch.save(net.state_dict(), tmp_path / "good.pt")
    spoilt = {name: t * float("nan") for name, t in net.state_dict().items()}
    torch.save(spoilt, tmp_path / "bad.pt")
    hidden = [len(next(iter(net.parameters())))]
    of = [{"name": n, "net": "mlp", "hidden": hidden, "checkpoint": f"{n}.pt"} for n in ("good", "bad")]
    spec = measure_spec(tmp_path, of=of, data={"source": "digits"})
    rows, _ = measured(spec, tmp_path)
    assert rows.set_index("of_key")["status"].to_dict() == {"good": "ok", "bad": "diverged"}
    assert rows["loss"][0] == pytest.approx(Zoo(home / "zoo")[0].row["test_loss"], rel=1e-5)


UNLIKE = {"choose": "pairs", "within": ["seed"], "over": "net.hidden", "unlike": True}


def test_unlike_networks_are_compared_by_what_they_give(home: Path) -> None:
    measures = {"cka": {"measure": "cka"}, "differ": {"measure": "disagreement"}, **DISTANCE}
    spec = measure_spec(home, measures=measures, subjects=[UNLIKE, {"choose": "pairs", "over": "seed"}])
    rows, _ = measured(spec, home, "unlike")
    assert set(rows["status"]) == {"ok"}
    counts = rows.groupby("measure").size().to_dict()
    assert counts == {"cka": 4, "differ": 4, "far": 2}  # two pairs of unlike widths, two of one width
    unlike = rows[rows["net.hidden_a"].notna()]
    assert set(unlike["measure"]) == {"cka", "differ"} and set(unlike["cka_layers"].dropna()) == {2}


def test_measures_of_weights_refuse_pairs_of_unlike_networks(home: Path) -> None:
    spec = measure_spec(home, measures=DISTANCE, subjects=UNLIKE)
    with pytest.raises(SpecError, match=r"measures\.far: distance compares weights, but all pairs are of networks"):
        KIND.planner(spec)
    with pytest.raises(SpecError, match=r"weights of other names or shapes, so they can't be compared"):
        KIND.planner(measure_spec(home, measures=DISTANCE, subjects={**UNLIKE, "unlike": False}))
