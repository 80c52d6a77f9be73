"""The trajectory loss of SAF: a plain training loop with a dictionary of past logits, and where it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import ValidationError
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import train_pack
from landsweep.sweeps.lab.training.samples import Samples
from tests.sweeps.lab.training.cases import as_kept, blobs, digits, finals, recipe, run, same

NET = {"net": "mlp", "hidden": [6], "activation": "tanh"}
SAF = {"weight": 0.5, "temperature": 2.0, "ago": 2, "start": 3}


def saf(seed: int, **fields: Any) -> Recipe:
    """30 samples in batches of 7: each epoch has 5 steps, the last one of 2 samples."""
    own = {"net": NET, "steps": 28, "batch_size": 7, "trajectory": SAF, "lr": 0.03}
    return recipe(seed, **{**own, **fields})


def by_hand(r: Recipe, data: Data) -> Mapping[str, Tensor]:
    """The authors' loop: logits of each sample and epoch in a dictionary, torch's kl_div, torch's SGD."""
    dtype = torch.float64 if r.dtype == "float64" else torch.float32
    module = r.build(data.shape, data.outputs).to(dtype)
    peer = torch.optim.SGD(module.parameters(), r.optimizer.learning_rate, momentum=0.9)
    samples, x, y = Samples([r], data), data.splits["train"].inputs.to(dtype), data.splits["train"].targets
    given: dict[tuple[int, int], Tensor] = {}
    t = SAF["temperature"]
    for step in range(28):
        chosen, epoch = samples.positions(step)[0], step // 5
        outputs = module(x[chosen])
        loss = F.cross_entropy(outputs, y[chosen])
        if epoch >= SAF["start"]:
            past = torch.stack([given[epoch - 2, i] for i in chosen.tolist()])
            apart = F.kl_div((outputs / t).log_softmax(1), (past / t).softmax(1), reduction="none").sum(1).mean()
            loss = loss + SAF["weight"] * t**2 * apart
        given.update({(epoch, i): o for i, o in zip(chosen.tolist(), outputs.detach(), strict=True)})
        peer.zero_grad()
        loss.backward()
        peer.step()
    return {name: p.detach() for name, p in module.named_parameters()}


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float64", 1e-12)])
def test_it_is_the_authors_loop(dtype: str, bound: float) -> None:
    data = blobs(30)
    pack = [saf(s, dtype=dtype) for s in range(2)]
    wanted = [by_hand(r, data) for r in pack]
    without = finals(run([saf(1, dtype=dtype, trajectory=None)], data, "loop"))[0]
    for backend in ("loop", "vmap", "bmm"):
        found = finals(run(pack, data, backend))
        for k, weights in enumerate(wanted):
            for name, tensor in weights.items():
                assert float((found[k][name] - tensor).abs().max()) <= bound, backend
        assert max(float((found[1][n] - without[n]).abs().max()) for n in without) > 1e-3
    early = {"steps": 15, "dtype": dtype}  # of three epochs
    assert same(*(finals(run([saf(1, **early, trajectory=t)], data, "loop"))[0] for t in (SAF, None)))


def test_two_gradients_see_the_same_past() -> None:
    """SAM's second gradient is of the same targets, and what is kept is what the first one saw."""
    fields = {"optimizer": {"method": "sam", "learning_rate": 0.1, "rho": 0.0}}
    plain = {"optimizer": {"method": "sgd", "learning_rate": 0.1}}
    each = [finals(run([saf(0, dtype="float64", **f)], blobs(30), "loop"))[0] for f in (fields, plain)]
    for name, tensor in each[0].items():
        torch.testing.assert_close(tensor, each[1][name], rtol=0, atol=1e-12)


def test_it_goes_on_and_models_leave(tmp_path: Path) -> None:
    data = blobs(30)
    pack = [saf(0), saf(1, lr=1e20), saf(2, train_fraction=0.9, drop_last=True), saf(3)]
    pack = [r.model_copy(update={"drop_last": True}) for r in pack]
    whole = finals(run(pack, data, "bmm"))
    training = train_pack(pack, data, backend="bmm")
    while training.step < 19:
        next(training)
    resumed = train_pack(pack, data, backend="bmm", resume=as_kept(training.state(), tmp_path / "state"))
    again = finals(list(resumed))
    alone = finals(run(pack[3:], data, "bmm"))
    assert same(whole[3], again[3]) and same(whole[3], alone[0])
    assert same(whole[2], again[2]) and len(whole) == 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"loss": "mse"}, "trajectory: it is of cross_entropy"),
        (
            {"data": {"source": "markov", "states": 4, "context": 5}, "net": {"net": "gpt"}},
            "with one class for each sample",
        ),
    ],
)
def test_losses_without_classes_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        (r := saf(0, **fields)).training_loss(r.data.load(Path()))


def test_parts_of_batches_and_compiled_packs_are_refused() -> None:
    with pytest.raises(ValidationError, match="trajectory: it keeps outputs of whole batches"):
        saf(0, micro_batch=2)
    with pytest.raises(SpecError, match="compiled can't train this network: it does not know trajectory"):
        run([saf(0)], digits(), "compiled")
