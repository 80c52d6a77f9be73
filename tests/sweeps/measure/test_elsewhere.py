"""Models of transfer and scaling sweeps, of exported and published zoos, and of an object store, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.measure.spec import MeasureSweepSpec
from landsweep.sweeps.zoo.export import export_zoo
from tests.support.measures import measure_spec, measured, small_zoo
from tests.support.published import small_cnn_zoo
from tests.support.studies import GPT_RECIPE, study_spec
from tests.support.studies import KIND as STUDIES
from tests.support.transfers import KIND as TRANSFERS
from tests.support.transfers import transfer_recipe, transfer_spec

KEPT = {"last": True}


def agrees(spec: MeasureSweepSpec, folder: Path) -> pd.DataFrame:
    """Measure; the losses must be those that the models' own sweep gives."""
    rows, _ = measured(spec, folder)
    assert len(rows) and set(rows["status"]) == {"ok"}
    assert list(rows["loss"]) == pytest.approx(list(rows["of_test_loss"]), rel=1e-5)
    return rows


def test_the_models_of_a_transfer_sweep(tmp_path: Path) -> None:
    recipe = transfer_recipe(steps=5, checkpoints=KEPT, evaluate={"splits": ["train", "test"]})
    fields = {
        "values": [8, 16],
        "rates": [0.05, 0.1, 0.2],
        "seeds": {"range": 1},
        "coordinates": None,
        "sharpness": None,
    }
    spec = transfer_spec(recipe=recipe, **fields)
    assert run_example(TRANSFERS, spec, tmp_path / "zoo").phase == "done"
    rows = agrees(measure_spec(tmp_path), tmp_path)
    assert sorted(rows["width"]) == sorted(Zoo(tmp_path / "zoo").rows["width"]) and rows["width"].nunique() == 2


def test_the_models_of_a_scaling_study(tmp_path: Path) -> None:
    data = {"source": "markov", "states": 8, "context": 8, "train": 2000}
    sizes = {"widths": [4, 8, 12], "budgets": {"geometric": [2e7, 8e7, 3]}, "limits": {"least_steps": 10}}
    spec = study_spec(recipe={**GPT_RECIPE, "data": data, "checkpoints": KEPT}, backend="loop", **sizes)
    assert run_example(STUDIES, spec, tmp_path / "zoo").phase == "done"
    rows = agrees(measure_spec(tmp_path), tmp_path)
    assert set(rows["of_key"]) == set(Zoo(tmp_path / "zoo").keys)


@pytest.mark.parametrize("per_model", [False, True])
def test_an_exported_zoo_gives_the_units_of_the_original(tmp_path: Path, per_model: bool) -> None:
    small_zoo(tmp_path / "zoo", rates=(0.05,))
    export_zoo(Zoo(tmp_path / "zoo"), tmp_path / "shared", per_model=per_model)
    original = agrees(measure_spec(tmp_path), tmp_path)
    exported, end = measured(measure_spec(tmp_path, of=[{"sweep": "shared"}]), tmp_path)
    assert list(exported["key"]) == list(original["key"]) and end.done == 2  # those of the first run: no new units


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a function of one's own that gives images of the size that published zoos know."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images_of_test.py").write_text(
        "import torch\n"
        "def images():\n"
        "    g = torch.Generator().manual_seed(0)\n"
        "    x, y = torch.rand(60, 1, 28, 28, generator=g), torch.arange(60) % 10\n"
        "    return {'train': (x[:40], y[:40]), 'test': (x[40:], y[40:])}\n",
        encoding="utf-8",
    )
    small_cnn_zoo(folder)
    return folder


def published(folder: Path, **fields: Any) -> MeasureSweepSpec:
    data = {"source": "callable", "function": "images_of_test:images"}
    return measure_spec(folder, **{"of": [{"sweep": "."}], "data": data, **fields})


def test_a_published_zoo_is_measured_on_the_data_of_the_spec(images: Path, tmp_path: Path) -> None:
    spec = published(images, of=[{"sweep": ".", "checkpoints": ["step-000020", "last"]}])
    rows, _ = measured(spec, images, str(tmp_path / "out"))
    assert len(rows) == 6 and set(rows["learning_rate"]) == {0.1, 0.01, 0.001}
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(60, 1, 28, 28, generator=g)[40:], (torch.arange(60) % 10)[40:]
    for row in rows.itertuples():
        with torch.no_grad():
            wanted = torch.nn.functional.cross_entropy(Zoo(images)[row.of_key].module(row.of_label)(x), y)
        assert row.loss == pytest.approx(float(wanted), rel=1e-5)


def test_a_published_zoo_without_data_is_refused(images: Path) -> None:
    with pytest.raises(UsageError, match=r"data: missing; of\.0 does not say on which data its models were trained"):
        measured(published(images, data=None), images, "never")


def test_a_zoo_in_an_object_store(tmp_path: Path, bucket_url: str) -> None:
    small_zoo(tmp_path / "zoo", rates=(0.05,))
    bucket = Artifacts(bucket_url)
    for file in (f for f in (tmp_path / "zoo").rglob("*") if f.is_file()):
        bucket.write(str(file.relative_to(tmp_path / "zoo")), file.read_bytes())
    rows = agrees(measure_spec(tmp_path, of=[{"sweep": bucket_url}]), tmp_path)
    local = measure_spec(tmp_path)
    assert list(rows["key"]) == list(measured(local, tmp_path, "local")[0]["key"])  # a URL is no identity
    with pytest.raises(UsageError, match=rf"of\.0\.sweep: {bucket_url}-not-there: "):
        measure_spec(tmp_path, of=[{"sweep": f"{bucket_url}-not-there"}])
