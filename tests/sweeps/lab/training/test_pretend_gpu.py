"""All that trains also does so on a GPU: the same bits on a pretend one, and hardly ever a wait for it."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of, same
from landsweep.sweeps.lab.models.catalogue import networks
from landsweep.sweeps.lab.probes import ProbeSpec
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import proof
from landsweep.sweeps.landscape.kind import LandscapeKind
from landsweep.sweeps.measure.kind import MeasureKind
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.search.kind import SearchKind
from landsweep.sweeps.transfer.kind import TransferKind
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT
from tests.support.pretend import DeviceMistake, PretendGpu
from tests.sweeps.lab.training.device_cases import CASES, close, fields, trained

FAST = ("bmm-adamw", "vmap-batch-norm", "loop-gpt")
FEW_WAITS = ("bmm-adamw", "bmm-soap")
PROVED = ("bmm-adamw",)  # whose back-end is proved too; that is the slower part


@pytest.fixture(autouse=True)
def proofs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(f"[{case}]" in request.node.name for case in PROVED):
        monkeypatch.setattr(proof, "_verdict", lambda *given: None)
        monkeypatch.setattr(proof, "_same_bits", lambda *given: True)
    monkeypatch.setattr(proof, "_VERDICTS", {})
    monkeypatch.setattr(proof, "_EXACT", {})


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c in FAST else pytest.mark.slow) for c in CASES])
def test_a_gpu_gives_what_the_cpu_gives(case: str) -> None:
    backend, more = CASES[case]
    recipe = fields(**more)
    expected = trained("cpu", backend, recipe)
    with PretendGpu() as gpu:
        given = trained("cuda:0", backend, recipe)
    assert repr(given) == repr(expected)  # nan equals nan
    assert gpu.kernels


def test_no_network_and_no_probe_is_left_out() -> None:
    """Those that a spec can name, each at least in one case."""
    recipes = [Recipe.model_validate(fields(**more)) for _, more in CASES.values()]
    assert {type(r.net) for r in recipes} == set(networks())
    probes = {probe.probe for r in recipes for probe in r.evaluate.probes}
    assert probes == {
        name for p in get_args(get_args(ProbeSpec)[0]) for name in get_args(p.model_fields["probe"].annotation)
    }


def counted(backend: str, recipe: dict[str, Any], steps: int, models: int = 3) -> PretendGpu:
    """What a training of so many steps asks of the GPU, with nothing but its end to be evaluated."""
    with PretendGpu() as gpu:
        trained("cuda:0", backend, {**recipe, "steps": 2, "evaluate": {"first": 12}})  # proofs are remembered
        gpu.reset()
        trained("cuda:0", backend, {**recipe, "steps": steps, "evaluate": {"first": 12}}, models)
    return gpu


BUDGET = {  # waits and copies in each step; losses are looked at once for many steps
    "bmm-adamw": (0, 0),
    "bmm-soap": (0, 0),
    "bmm-mup": (0, 0),
    "bmm-clip": (0, 0),
    "bmm-dropout": (0, 2),  # masks, which a generator of the CPU draws, and positions
    "loop-gpt": (0, 0),
    "loop-class": (1, 0),  # the class may keep what can't be taken back, so each step is judged before it is made
    "vmap-batch-norm": (0, 0),
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c in FEW_WAITS else pytest.mark.slow) for c in BUDGET])
def test_a_step_does_not_wait_for_the_gpu(case: str) -> None:
    """More waits or copies than its budget mean that somebody asks the GPU for what the host could know."""
    backend, more = CASES[case]
    recipe = fields(**{**more, "checkpoints": {"last": False}, "drop_last": True})
    few_steps, more_steps = (counted(backend, recipe, steps) for steps in (10, 20))
    waits = sum(more_steps.syncs.values()) - sum(few_steps.syncs.values())
    copies = sum(more_steps.uploads.values()) - sum(few_steps.uploads.values())
    assert waits <= 10 * BUDGET[case][0], more_steps.syncs
    assert copies <= 10 * BUDGET[case][1], more_steps.uploads


def test_a_step_of_perceptrons_is_few_kernels() -> None:
    """Momentum SGD, whatever the number of models."""
    recipe = fields(checkpoints={"last": False}, drop_last=True)
    few_steps, more_steps = (counted("bmm", recipe, steps) for steps in (10, 20))
    assert sum(more_steps.kernels.values()) - sum(few_steps.kernels.values()) <= 10 * 36


@pytest.mark.parametrize("backend", ["bmm", "loop"])
def test_all_models_are_copied_from_the_gpu_at_once(backend: str) -> None:
    recipe = fields(evaluate={"first": 12})
    without, kept = (counted(backend, {**recipe, "checkpoints": {"last": last}}, 4) for last in (False, True))
    assert sum(kept.syncs.values()) - sum(without.syncs.values()) <= 1 + 5  # weights, and the buffers of NoNorm


@pytest.mark.parametrize("policy", [{"at_steps": [1, 2]}, {"best": "test_loss"}])
def test_waits_and_copies_do_not_grow_with_the_models(policy: dict[str, Any]) -> None:
    """Of steps with shifted images, of checkpoints and of branch points."""
    recipe = fields(**{**CASES["vmap-cnn"][1], "checkpoints": policy})
    _, few_models, many_models = (counted("vmap", recipe, 4, models) for models in (8, 8, 12))  # proofs come first
    assert many_models.syncs == few_models.syncs
    assert many_models.uploads == few_models.uploads


@pytest.mark.parametrize(("precision", "backend"), [("tf32", "loop"), ("tf32", "vmap"), ("float32", "vmap")])
def test_products_are_in_tf32_if_that_is_asked_for(precision: str, backend: str) -> None:
    """Those of the forward pass, of the backward pass and of evaluations."""
    with PretendGpu() as gpu:
        trained("cuda:0", backend, fields(precision=precision, steps=2), models=1 if backend == "loop" else 4)
    assert set(gpu.products) == {precision == "tf32"}
    assert not torch.backends.cuda.matmul.allow_tf32


SHORT = {"steps": 4, "batch_size": 32, "evaluate": {"every_steps": 2}, "checkpoints": {"last": True}}
KINDS: dict[str, tuple[SweepKind[Any], dict[str, Any]]] = {
    "zoo": (ZooKind(), {"recipe": SHORT, "axes": {"net.hidden.0": [4]}, "seeds": {"range": 2}}),
    "landscape": (LandscapeKind(), {"axes": {"x": {"linear": [-1, 1, 3]}}}),
    "search": (SearchKind(), {"recipe": SHORT, "budget": {"units": 4}, "generation": 2}),
    "transfer": (TransferKind(), {"recipe": SHORT, "rates": [0.01, 0.02, 0.04], "seeds": [0], "sharpness": None}),
    "scaling": (ScalingKind(), {"widths": [2, 3, 4, 6, 8, 12], "budgets": [2e5], "validate": None}),
}


def smaller(kind: SweepKind[Any], changes: dict[str, Any]) -> Any:
    """A kind's example with other fields; those of its recipe are merged."""
    example = {"kind": kind.name, **kind.example().model_dump(mode="json", exclude={"kind"}, exclude_unset=True)}
    merged = {**example.get("recipe", {}), **changes.get("recipe", {})}
    fields = {**example, **changes, **({"recipe": merged} if merged else {})}
    return kind.parse({name: value for name, value in fields.items() if value is not None}, "spec")


@pytest.mark.parametrize("name", [pytest.param(k, marks=() if k == "zoo" else pytest.mark.slow) for k in KINDS])
def test_a_sweep_on_a_gpu_gives_the_rows_of_the_cpu(name: str, tmp_path: Path) -> None:
    kind, changes = KINDS[name]
    spec = smaller(kind, changes)
    run_sweep(kind, spec, Site(executor="local", tracking=False), tmp_path / "cpu", folder=ROOT, watch=QuietWatch())
    with PretendGpu() as gpu:
        site = Site(executor="local", gpus=1, tracking=False)
        run_sweep(kind, spec, site, tmp_path / "gpu", folder=ROOT, watch=QuietWatch())
    assert gpu.kernels
    given, expected = metrics_of(tmp_path / "gpu"), metrics_of(tmp_path / "cpu")
    assert given.keys() == expected.keys()
    assert all(same(given[key], expected[key]) for key in expected)


PLAIN = [
    "alpha",
    "barrier",
    "calibration",
    "cka",
    "class_losses",
    "disagreement",
    "distance",
    "dropout_path",
    "dropout_stability",
    "effective_dimension",
    "gradient",
    "losses",
    "pruning",
    "quantisation",
    "robustness",
    "second_order_barrier",
]
MEASURES: dict[str, dict[str, Any]] = {  # of one model, or of two; those of whole runs need stored zoos
    **{name: {} for name in PLAIN},
    **{name: {"radius": 0.1} for name in ("average_sharpness", "sam_sharpness")},
    **{name: {"radius": 0.1, "steps": 3} for name in ("first_order_flatness", "worst_sharpness")},
    **{name: {"products": 10} for name in ("relative_flatness", "third_order")},
    "curve": {"steps": 3},
    "directional_curvature": {"along": "random"},
    "eigenvalues": {"top": 2},
    "input_derivatives": {"coordinates": [27, 36]},
    "lla": {"steps": 10},
    "roughness": {"lines": 2},
    "spectrum": {"steps": 10, "runs": 1},
    "trace": {"tolerance": 0.5},
}


@pytest.mark.slow
def test_measures_on_a_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    """To nine digits, for the eigenvalues of a matrix depend on where it begins in memory."""
    kind = MeasureKind()
    fields = {
        "kind": "measure",
        "name": "measures",
        "of": [{"name": f"net-{i}", "net": {"net": "mlp", "hidden": [6]}, "seed": i} for i in range(2)],
        "subjects": [{"choose": "each"}, {"over": "seed", "choose": "pairs"}],
        "measures": {name: {"measure": name, **settings} for name, settings in MEASURES.items()},
        "evaluators": {"train": {"split": "train", "first": 40}},
        "data": {"source": "digits"},
    }
    spec = kind.parse(fields, "spec")
    site = Site(executor="local", tracking=False)
    run_sweep(kind, spec, site, tmp_path / "cpu", folder=ROOT, watch=QuietWatch())
    with PretendGpu() as gpu:
        on_gpu = site.model_copy(update={"gpus": 1})
        run_sweep(kind, spec, on_gpu, tmp_path / "gpu", folder=ROOT, watch=QuietWatch())
    assert gpu.kernels
    expected = metrics_of(tmp_path / "cpu")
    assert {row["status"] for row in expected.values()} == {"ok"} and len(expected) > len(MEASURES)
    close(metrics_of(tmp_path / "gpu"), expected, relative=1e-9)


def test_the_pretend_gpu_notices_mistakes() -> None:
    """It could not fail otherwise."""
    with PretendGpu() as gpu:
        there, here = torch.ones(3, device="cuda:0"), torch.ones(3)
        assert there.device.type == "cuda" and there.is_cuda and (there + there).device == there.device
        for mistake in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: torch.rand(2, device="cuda:0", generator=torch.Generator()),
            lambda: there.numpy(),
            lambda: torch.nn.functional.linear(there, here),
            lambda: there.index_select(0, torch.tensor([0])),
            lambda: there[[0]],
        ):
            with pytest.raises(DeviceMistake):
                mistake()
        gpu.reset()
        assert float(there.sum()) == 3.0 and bool((there > 0).all()) and there.tolist() == [1.0] * 3
        assert sum(gpu.syncs.values()) == 3
        (there * 2).cpu(), there[torch.tensor([0])], there.nonzero(), there[there > 0]
        assert sum(gpu.syncs.values()) == 6 and sum(gpu.uploads.values()) == 1
    with pytest.raises(DeviceMistake, match="after the GPU is gone"):
        there + there
