"""Steps that are replayed from a CUDA graph give, bit for bit, what steps give that are made one by one."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of, same
from landsweep.sweeps.lab.optim.adam import Adam
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import (
    Beat,
    BranchPoint,
    Checkpoint,
    Ended,
    Evaluated,
    Training,
    graphs,
    proof,
    train_pack,
)
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.stepper import Stepper
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT
from tests.support.pretend import PretendGpu, numbers_of
from tests.support.pretend_graph import CaptureError
from tests.sweeps.lab.training.cases import OPTIMIZERS, as_kept, label
from tests.sweeps.lab.training.device_cases import CASES, GPT, few, fields

STEPS, EVERY = 24, 8  # steps in all, and in a block: the first is made step by step, the second twice
COSINE = {"shape": "cosine", "warmup": 0.2}
CYCLE = {"shape": "one_cycle", "momenta": [0.85, 0.95]}
ROTATING = (pytest.mark.rotating,)
UNLIKE = ("soap", "frugal", "entropy_sgd", "egn")
SHORT: dict[str, Any] = {"steps": STEPS, "evaluate": {"every_steps": EVERY, "first": 12}}


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are captured as soon as one block has been made; back-ends are proved elsewhere."""
    monkeypatch.setattr(graphs, "_PAYS", EVERY)
    monkeypatch.setattr(proof, "_verdict", lambda *given: None)
    monkeypatch.setattr(proof, "_same_bits", lambda *given: True)
    monkeypatch.setattr(proof, "_VERDICTS", {})
    monkeypatch.setattr(proof, "_EXACT", {})


def models(more: Mapping[str, Any], many: int = 3) -> list[Recipe]:
    return [Recipe.model_validate({**fields(**{**SHORT, **more}), "seed": seed}) for seed in range(many)]


def told(training: Training) -> str:
    """All that a training emits, as text: nan equals nan."""
    given: list[Any] = []
    for event in training:
        match event:
            case Ended():
                given.append((event.status, event.index, event.step, event.error, dict(event.metrics)))
            case Evaluated():
                given.append((event.index, event.step, dict(event.metrics)))
            case Checkpoint() | BranchPoint():
                numbers = {n: numbers_of(event.state[n]).tolist() for n in sorted(event.state)}
                given.append((event.index, event.step, numbers))
    return repr(given)


def begun(recipes: Sequence[Recipe], backend: str, *, captured: bool = True, **more: Any) -> Training:
    data = few(recipes[0]).to("cuda:0")
    return train_pack(recipes, data, device="cuda:0", backend=backend, graphs=captured, branch_steps=(2, 20), **more)


def both(recipes: Sequence[Recipe], backend: str = "bmm") -> tuple[str, int]:
    """The note of a training with graphs, and how often one was replayed; it has told what one without them tells."""
    with PretendGpu() as gpu:
        expected = told(begun(recipes, backend, captured=False))
        assert not gpu.kernels["replay"]
        training = begun(recipes, backend)
        assert told(training) == expected
    return training.note, gpu.kernels["replay"]


def optimizer_case(optimizer: Mapping[str, Any]) -> Any:
    slow = () if optimizer["method"] == "adamw" else ROTATING
    return pytest.param("bmm", {"optimizer": optimizer, "schedule": COSINE}, id=label(optimizer), marks=slow)


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        *(optimizer_case(o) for o in OPTIMIZERS if o["method"] not in UNLIKE),
        pytest.param("bmm", {"schedule": CYCLE}, id="one-cycle"),
        pytest.param("bmm", {**CASES["bmm-mup"][1], "schedule": COSINE}, id="mup", marks=ROTATING),
        pytest.param("bmm", {"clip": 0.1, "loss": "mse"}, id="clip", marks=ROTATING),
        pytest.param("bmm", {**CASES["bmm-labels"][1], "micro_batch": 3}, id="labels"),
        pytest.param("bmm", {**CASES["bmm-averages"][1], "schedule": COSINE}, id="averages", marks=ROTATING),
        pytest.param("bmm", CASES["bmm-double"][1], id="double", marks=ROTATING),
        pytest.param("vmap", CASES["vmap-batch-norm"][1], id="batch-norm"),
        pytest.param("vmap", {"precision": "tf32"}, id="tf32", marks=ROTATING),
        pytest.param("loop", GPT, id="loop-gpt", marks=ROTATING),
        pytest.param("loop", {**CASES["vmap-batch-norm"][1], "optimizer": {"method": "sam"}}, id="loop-sam"),
    ],
)
def test_a_captured_step_changes_nothing(backend: str, more: dict[str, Any]) -> None:
    note, replays = both(models(more), backend)
    assert note == f"CUDA graphs from step {EVERY}"
    assert replays == STEPS - EVERY


@pytest.mark.parametrize("batch_size", [12, 30])
def test_smaller_last_batches_are_made_between_replays(batch_size: int) -> None:
    """Of 40 samples every fourth batch, or every second, is smaller, so that runs end within a block."""
    note, replays = both(models({"batch_size": batch_size, "schedule": COSINE}))
    if batch_size == 12:
        assert note == "CUDA graphs from step 8" and replays == 16 - 4
    else:
        assert note.startswith("no CUDA graphs: fewer than 16 steps") and not replays  # no two full ones in a row


FALLS = {3: 0.25, 5: 0.45, 6: 0.45, 7: 0.9}  # share of the steps after which a model's rate is raised


def diverging(more: Mapping[str, Any]) -> list[Recipe]:
    """Eight models, some of which diverge: within a block, two at once, near the end."""
    shapes = [{"shape": "step", "at": [FALLS[i]], "factor": 1e38} if i in FALLS else {} for i in range(8)]
    recipe = {**fields(**{**SHORT, **more}), "steps": 80}
    each = [{**recipe, "schedule": {"shape": "constant", **shape}, "seed": i} for i, shape in enumerate(shapes)]
    return [Recipe.model_validate(one) for one in each]


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        pytest.param("bmm", {}, id="rows-leave"),
        pytest.param("bmm", {"averaging": {"average": "exponential"}}, id="averages", marks=ROTATING),
        pytest.param("vmap", CASES["vmap-batch-norm"][1], id="rows-stay-idle", marks=ROTATING),
    ],
)
def test_models_that_diverge_end_at_their_steps(backend: str, more: dict[str, Any]) -> None:
    note, replays = both(diverging(more), backend)
    assert replays > EVERY
    assert int(note.removeprefix("CUDA graphs from step ")) > 40, "captured anew for the models that are left"


def test_a_training_goes_on_from_a_state_within_the_captured_steps(tmp_path: Path) -> None:
    recipes = models({"optimizer": {"method": "adamw"}, "schedule": COSINE, "steps": 40})
    with PretendGpu() as gpu:
        expected = told(begun(recipes, "bmm", captured=False))
        training = begun(recipes, "bmm")
        for event in training:
            if isinstance(event, Beat) and training.step >= 20:
                break
        state, replays = as_kept(training.state(), tmp_path / "state"), gpu.kernels["replay"]
        assert replays > 0 and training.step < 40
        assert told(begun(recipes, "bmm", resume=state)) == expected
        assert gpu.kernels["replay"] > replays


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (CASES["bmm-dropout"][1], "dropout"),
        ({"averaging": {"average": "polynomial"}}, "averages"),
        ({"averaging": {"average": "latest"}}, "averages"),
        ({"trajectory": {"start": 1, "ago": 2}}, "trajectory"),
        ({"optimizer": {"method": "adamw"}, "fused_step": True}, "fused_step"),
        ({"on_spike": "stop"}, "losses of each step"),
        *(({"optimizer": o}, "not all the same operations") for o in OPTIMIZERS if o["method"] in UNLIKE),
        ({"augment": {"shift": 1}}, "augmentations"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_host_has_a_hand_in_is_not_captured(more: dict[str, Any], reason: str) -> None:
    with PretendGpu() as gpu:
        training = begun(models({**more, "steps": 2}, 1), "loop")
        told(training)
    assert training.note.startswith("no CUDA graphs: ") and reason in training.note
    assert not gpu.kernels["replay"]


def test_rules_that_go_by_the_number_of_the_step_say_so() -> None:
    """A first run could not tell, where the rule does something else every hundredth step."""
    found = set()
    for o in [*OPTIMIZERS, {"method": "sgd"}]:
        method = type(models({"optimizer": o})[0].optimizer)
        attributes = {n.attr for n in ast.walk(ast.parse(inspect.getsource(method))) if isinstance(n, ast.Attribute)}
        if attributes & {"made", "linearised", "tolist", "item"}:
            found.add(method.model_fields["method"].annotation)
            assert not method.steps_alike
    assert len(found) == len(UNLIKE)


def test_a_cpu_knows_no_graphs() -> None:
    recipes = models({"steps": 2})
    assert train_pack(recipes, few(recipes[0]), backend="bmm", graphs=True).note == ""


def test_a_step_is_one_launch() -> None:
    """Beside its share of what a block costs, and a sum of losses."""

    def kernels(steps: int) -> tuple[int, int, int]:
        more = {"steps": steps, "evaluate": {"first": 12}, "checkpoints": {"last": False}}
        with PretendGpu() as gpu:
            training = train_pack(
                recipes := models(more), few(recipes[0]).to("cuda:0"), device="cuda:0", backend="bmm", graphs=True
            )
            told(training)
        assert training.note == "CUDA graphs from step 32"
        return sum(gpu.kernels.values()), sum(gpu.syncs.values()), sum(gpu.uploads.values())

    few_steps, more_steps = kernels(96), kernels(224)  # blocks of 32 steps
    launches, waits, copies = (b - a for a, b in zip(few_steps, more_steps, strict=True))
    assert launches <= 3 * 128
    assert waits <= 4 and copies <= 4 * 2  # in each block: for its losses; samples and learning rates of 64 steps


def freeze(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Let Python have a hand in captured steps."""
    given = Stepper.given

    def partly(self: Stepper, numbers: Mapping[str, Tensor]) -> Any:
        return given(self, {**numbers, what: self.host_numbers(self.step)[what].clone()})

    monkeypatch.setattr(Stepper, "given", partly)


@pytest.mark.parametrize("what", ["positions", "rates", "momenta"])
def test_a_step_that_freezes_what_should_change_is_found_out(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(monkeypatch, what)
    note, _ = both(models({"schedule": CYCLE}))
    assert note == "no CUDA graphs: captured steps compute other bits of weights"


def test_so_is_a_rule_that_goes_by_the_number_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    update = Adam.update

    def by_number(self: Adam, step: Any) -> None:
        step.weights.mul_(1 - 1e-3 * (step.made % 3))
        update(self, step)

    monkeypatch.setattr(Adam, "update", by_number)
    assert both(models({"optimizer": {"method": "adam"}}))[0] == (
        "no CUDA graphs: captured steps compute other bits of weights"
    )


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        (lambda losses: float(losses.sum()), "called a synchronizing CUDA operation"),  # found in the rehearsal
        (lambda losses: torch.linalg.eigh(losses @ losses.T), "CUDA error: operation not permitted when stream is"),
    ],
)
def test_a_step_that_can_not_be_captured_goes_on_without(
    asks: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Adam.update

    def waiting(self: Adam, step: Any) -> None:
        asks(step.losses)
        update(self, step)

    monkeypatch.setattr(Adam, "update", waiting)
    note, replays = both(models({"optimizer": {"method": "adam"}}))
    assert note.startswith(f"no CUDA graphs: a step can't be captured ({reason}")
    assert not replays


def test_rows_say_whether_steps_were_graphs(tmp_path: Path) -> None:
    recipe = {**fields(**SHORT), "batch_size": 100, "drop_last": True}
    given = {"kind": "zoo", "name": "graphs", "recipe": recipe, "seeds": {"range": 2}, "backend": "bmm"}
    spec = ZooKind().parse(given, "spec")
    with PretendGpu():
        for quick in (False, True):
            site = Site(executor="local", gpus=1, tracking=False, shortcuts=quick)
            run_sweep(ZooKind(), spec, site, tmp_path / str(quick), folder=ROOT, watch=QuietWatch())
    rows, quick_rows = (metrics_of(tmp_path / str(quick)) for quick in (False, True))
    assert all(same(rows[key], quick_rows[key]) for key in rows) and rows.keys() == quick_rows.keys()
    notes = [
        Ledger.open(Store.at(str(tmp_path / str(quick)))).rows(["backend_note"]).column("backend_note").to_pylist()
        for quick in (False, True)
    ]
    assert notes == [[None] * 2, [f"CUDA graphs from step {EVERY}"] * 2]


class TestPretendGraphs:
    """They could not find anything out otherwise."""

    def test_nothing_is_computed_while_a_step_is_captured(self) -> None:
        with PretendGpu() as gpu:
            there, graph, calls = torch.ones(3, device="cuda:0"), torch.cuda.CUDAGraph(), []
            with torch.cuda.graph(graph):
                calls.append(1)
                twice = there * 2
                there.add_(twice[:1] + len(calls))
            assert there.tolist() == [1.0] * 3 and torch.isnan(twice).all()
            graph.replay()
            assert there.tolist() == [4.0] * 3 and twice.tolist() == [2.0] * 3
            graph.replay()
            assert there.tolist() == [13.0] * 3 and len(calls) == 1
            assert gpu.kernels["replay"] == 2 and not gpu.kernels["add_"]

    def test_numbers_of_the_host_are_frozen(self) -> None:
        with PretendGpu():
            there, number, graph = torch.zeros(2, device="cuda:0"), torch.tensor(1.0), torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                there += number
            number.fill_(100.0)
            graph.replay()
            assert there.tolist() == [1.0] * 2

    def test_what_cuda_refuses_is_refused(self) -> None:
        with PretendGpu():
            there = torch.eye(2, device="cuda:0")
            for refused in (
                lambda: float(there.sum()),
                lambda: there.cpu(),
                lambda: there.tolist(),
                lambda: there[there > 0],
                lambda: torch.tensor([1.0], device="cuda:0"),
                lambda: torch.linalg.eigh(there),
            ):
                with pytest.raises(RuntimeError) as error, torch.cuda.graph(torch.cuda.CUDAGraph()):
                    refused()
                assert isinstance(error.value.__context__, CaptureError)
            assert float(there.sum()) == 2.0


def test_weights_in_bf16_come_back_from_a_step_that_failed() -> None:
    stack = Stack([torch.nn.Linear(3, 2)], "cpu")
    stack.round_to_bf16()
    kept, numbers = stack.weights, stack.weights.clone()
    with pytest.raises(CaptureError), stack.widened():
        stack.weights.add_(1.0)
        raise CaptureError("in the middle of a step")
    assert stack.weights is kept and torch.equal(kept, numbers)
