"""Landscapes of models that another sweep has kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.report.parts import Figure, Report
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.lab.matching.symmetry import find_symmetry, shuffled
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.landscape.kind import LandscapeKind, LandscapeSpec
from landsweep.sweeps.landscape.vectors import check_directions
from tests.support.measures import measure_spec, measured, small_zoo
from tests.support.published import small_cnn_zoo

KIND = LandscapeKind()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of two models."""
    folder = tmp_path_factory.mktemp("home")
    small_zoo(folder / "zoo", rates=(0.05,))
    return folder


def spec_of(folder: Path, stored: dict[str, dict[str, Any]], hidden: int | None = 8, **fields: Any) -> LandscapeSpec:
    """Networks with stored weights, pinned; `hidden`: None leaves the network to the stored recipe."""
    net = {} if hidden is None else {"net": "mlp", "hidden": [hidden]}
    models = {n: {**net, "checkpoint": {"sweep": "zoo", **c}} for n, c in stored.items()}
    data = {"kind": "landscape", "name": "l", "data": {"source": "digits"}, "models": models, "axes": {"x": [0, 1]}}
    return KIND.parse({**data, **fields}, "spec").pinned(folder)


def run(spec: LandscapeSpec, folder: Path, out: Path) -> Any:
    run_sweep(KIND, spec, Site(executor="local", tracking=False), out, folder=folder, watch=QuietWatch())
    return Sweep.at(out).rows()


@pytest.mark.parametrize("hidden", [8, None])
def test_both_ends_of_an_interpolation_are_the_stored_models(home: Path, tmp_path: Path, hidden: int | None) -> None:
    line = {"kind": "interpolation", "ends": ["a", "b"]}
    spec = spec_of(home, {"a": {"where": "seed == 0"}, "b": {"where": "seed == 1"}}, hidden, directions=line)
    rows = run(spec, home, tmp_path / "out").set_index("x")
    zoo = Zoo(home / "zoo").rows.set_index("seed")
    for x, seed in ((0, 0), (1, 1)):
        assert rows.loc[x, "test_loss"] == pytest.approx(zoo.loc[seed, "test_loss"], rel=1e-5)


def test_an_earlier_checkpoint_is_the_centre(home: Path, tmp_path: Path) -> None:
    key = Zoo(home / "zoo").keys[0]
    spec = spec_of(home, {"a": {"key": key[:8], "checkpoints": ["step-000020"]}})
    arrays = KIND.prepare(spec, "model-a", {}, Workbench(folder=home))
    for name, tensor in Zoo(home / "zoo")[key].state("step-000020").items():
        assert torch.equal(torch.from_numpy(arrays[f"state/{name}"]), tensor)


def test_small_grids_along_a_training_have_one_scale_and_the_losses_of_its_checkpoints(
    home: Path, tmp_path: Path
) -> None:
    zoo = Zoo(home / "zoo")
    key = zoo.keys[0]
    labels = {"start": "step-000000", "early": "step-000020", "end": "last"}
    stored = {name: {"key": key, "checkpoints": [label]} for name, label in labels.items()}
    rows = run(spec_of(home, stored, None, axes={"x": [-0.1, 0, 0.1], "y": [0, 0.1]}), home, tmp_path / "out")
    centers = rows[(rows["x"] == 0) & (rows["y"] == 0)].set_index("model")
    test = Digits(source="digits").load(Path()).splits["test"]
    for name, label in labels.items():
        outputs = zoo[key].module(label)(test.inputs)
        told = float(torch.nn.functional.cross_entropy(outputs.detach(), test.targets))
        assert centers.loc[name, "test_loss"] == pytest.approx(told, rel=1e-6)
        weights = zoo[key].state(label)
        moved = sum(float((w.double() ** 2).sum()) for w in weights.values() if w.ndim > 1) ** 0.5
        assert centers.loc[name, "norm_x"] == pytest.approx(moved, rel=1e-5)  # each by the norms of its own filters
    captions = [p.caption for s in _report(home, stored, rows).sections for p in s.parts if isinstance(p, Figure)]
    assert any("one logarithmic scale for all" in caption for caption in captions)


def _report(home: Path, stored: dict[str, dict[str, Any]], rows: Any) -> Report:
    spec = spec_of(home, stored, None, axes={"x": [-0.1, 0, 0.1], "y": [0, 0.1]})
    return KIND.report(spec, rows, rows.head(0))


def test_the_rule_and_the_path_are_no_identity(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "zoo", tmp_path / "copy")
    key = Zoo(home / "zoo").keys[0]
    by_key = spec_of(home, {"a": {"key": key}})
    seed = Zoo(home / "zoo")[key].row["seed"]
    by_rule = spec_of(tmp_path, {"a": {"sweep": "copy", "where": f"seed == {seed}"}})
    assert by_key.definitions() == by_rule.definitions()
    assert [u.key for u in KIND.planner(by_key).ask(9)] == [u.key for u in KIND.planner(by_rule).ask(9)]


def test_a_stored_network_need_not_be_written_and_gives_the_same_units(home: Path) -> None:
    written, left_out = (spec_of(home, {"a": {"where": "seed == 0"}}, hidden) for hidden in (8, None))
    assert left_out == written
    assert [u.key for u in KIND.planner(left_out).ask(9)] == [u.key for u in KIND.planner(written).ask(9)]
    assert KIND.parse(left_out.model_dump(mode="json"), "json").pinned(home) == written  # as `sweep.json` has it


def test_a_network_that_nothing_tells_is_refused(home: Path, tmp_path: Path) -> None:
    data = {"kind": "landscape", "name": "l", "data": {"source": "digits"}, "axes": {"x": [0, 1]}}
    for model in ({"checkpoint": "weights.pt"}, {"train": {"epochs": 0}}):
        with pytest.raises(SpecError, match="net: missing; only a `recipe`, or a model of another sweep, says"):
            KIND.parse({**data, "models": {"a": model}}, "spec")
    small_cnn_zoo(tmp_path)
    published = {"checkpoint": {"sweep": ".", "key": Zoo(tmp_path).keys[0]}}
    with pytest.raises(
        SpecError,
        match=r"models\.a\.checkpoint\.sweep: \.: .*keeps no recipes; write the network",
    ):
        KIND.parse({**data, "models": {"a": published}}, "spec").pinned(tmp_path)


@pytest.mark.parametrize("hidden", [8, None])
def test_the_spec_survives_json(home: Path, hidden: int | None) -> None:
    spec = spec_of(home, {"a": {"where": "seed == 0"}}, hidden)
    again = KIND.parse(spec.model_dump(mode="json"), "json")
    assert again == spec
    assert again.definitions() == spec.definitions()


@pytest.mark.parametrize(
    ("stored", "hidden", "message"),
    [
        ({}, 8, r"models\.a\.checkpoint\.sweep: zoo: 2 models are chosen.*give its `key`"),
        ({"where": "seed == 0", "checkpoints": ["all"]}, 8, r"3 models are chosen, such as \w+ at step-000000"),
        ({"sweep": "none"}, 8, r"models\.a\.checkpoint\.sweep: none: there is no folder"),
        ({"where": "seed == 0"}, 9, r"models\.a\.checkpoint: zoo"),
    ],
)
def test_what_is_not_one_model_of_this_network_is_refused(
    home: Path, tmp_path: Path, stored: dict[str, Any], hidden: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(spec_of(home, {"a": stored}, hidden), home, tmp_path / "out")


def test_weights_that_have_changed_are_refused(home: Path, tmp_path: Path) -> None:
    """The pinned checksum is that of another model: what a zoo with other weights under the same key would give."""
    spec = spec_of(home, {"a": {"where": "seed == 0"}})
    dumped = spec.model_dump(mode="json")
    (model,) = dumped["models"]["a"]["checkpoint"]["pinned_models"]["models"]
    model["weights"] = "0" * 32
    with pytest.raises(UsageError, match=rf"{model['key']} at last has changed.*checksum 0+, now \w+"):
        run(KIND.parse(dumped, "json"), home, tmp_path / "out")


@pytest.fixture(scope="module")
def shuffled_home(home: Path) -> Path:
    """Beside the zoo, files with its first model, and twice with its units in another order."""
    module = Zoo(home / "zoo")[0].module()
    symmetry = find_symmetry(module, torch.rand(4, 1, 8, 8))
    for i, name in enumerate(("plain", "other", "third")):
        state = module.state_dict() if not i else shuffled(module.state_dict(), symmetry.units, generator(i, "order"))
        torch.save(dict(state), home / f"{name}.pt")
    return home


def matched_line(folder: Path, names: tuple[str, ...], match: str, tmp_path: Path) -> Any:
    models = {n: {"net": "mlp", "hidden": [8], "checkpoint": f"{n}.pt"} for n in names}
    axes = {axis: [0, 0.5, 1] for axis in "xyz"[: len(names) - 1]}
    line = {"kind": "interpolation", "ends": list(names), "match": match}
    return run(spec_of(folder, {}, models=models, axes=axes, directions=line), folder, tmp_path / match)


@pytest.mark.parametrize("match", ["weights", "activations"])
@pytest.mark.parametrize("names", [("plain", "other"), ("plain", "other", "third")])
def test_after_matching_the_line_to_a_shuffled_copy_is_flat(
    shuffled_home: Path, tmp_path: Path, match: str, names: tuple[str, ...]
) -> None:
    flat = matched_line(shuffled_home, names, match, tmp_path)
    apart = matched_line(shuffled_home, names, "none", tmp_path)
    assert np.ptp(flat["train_loss"]) < 1e-6 < 0.01 < np.ptp(apart["train_loss"])
    assert (flat["norm_x"] < 1e-6).all() and (apart["norm_x"] > 0.1).all()


def test_a_matched_line_is_that_of_the_barrier(home: Path, tmp_path: Path) -> None:
    line = {"kind": "interpolation", "ends": ["a", "b"], "match": "weights"}
    axes = {"x": [0, 0.25, 0.5, 0.75, 1]}
    ends = {"a": {"where": "seed == 0"}, "b": {"where": "seed == 1"}}
    rows = run(spec_of(home, ends, None, directions=line, axes=axes), home, tmp_path / "out").sort_values("x")
    pairs = {"subjects": {"choose": "pairs", "over": "seed"}, "evaluators": {"train": {"split": "train"}}}
    barrier = {"line": {"measure": "barrier", "match": "weights", "points": 5}}
    measured(measure_spec(home, measures=barrier, **pairs), home, str(tmp_path / "measured"))
    series = Sweep.at(tmp_path / "measured").series()
    wanted = series[series["metric"] == "line_loss"].sort_values("step")["value"]
    assert list(rows["train_loss"]) == pytest.approx(list(wanted), rel=1e-5)


def test_matching_is_checked_on_a_few_samples_of_data_on_disk(tmp_path: Path) -> None:
    """The file is a hole, too large to be read whole."""
    for name, size in (("train", 1 << 30), ("val", 1 << 10)):
        (tmp_path / f"{name}.bin").touch()
        os.truncate(tmp_path / f"{name}.bin", 2 * size)
    gpt = {"net": "gpt", "width": 8, "heads": 2, "depth": 1}
    data = {"source": "token_files", "folder": str(tmp_path), "vocabulary": 5, "context": 6}
    line = {"kind": "interpolation", "ends": ["a", "b"], "match": "weights"}
    models = {n: {**gpt, "train": {"epochs": 0, "seed": i}} for i, n in enumerate("ab")}
    spec = spec_of(tmp_path, {}, models=models, data=data, directions=line)
    module = spec.models["a"].make((6,), 5, tmp_path)
    check_directions(spec, module, Workbench("cpu", 1, tmp_path))


def test_what_can_not_be_matched_is_refused(home: Path, tmp_path: Path) -> None:
    line = {"kind": "interpolation", "ends": ["a", "b"], "match": "weights"}
    ends = {"a": {"where": "seed == 0"}, "b": {"where": "seed == 1"}}
    with pytest.raises(SpecError, match=r"directions\.evaluator: only match: activations looks at samples"):
        spec_of(home, ends, None, directions={**line, "evaluator": "test"})
    with pytest.raises(SpecError, match="there is no evaluator 'other'"):
        spec_of(home, ends, None, directions={**line, "match": "activations", "evaluator": "other"})
    linear = {n: {"net": "mlp", "hidden": [], "train": {"epochs": 0, "seed": i}} for i, n in enumerate("ab")}
    with pytest.raises(SpecError, match=r"directions\.match: .*no hidden units of this network can change places"):
        run(spec_of(home, {}, models=linear, directions=line), home, tmp_path / "out")
