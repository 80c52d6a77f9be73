"""The path between dropout-stable networks: convex between its corners, halves by hand, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.matching.symmetry import find_symmetry
from landsweep.sweeps.measure.dropout_path import chain_of, dropout_path
from landsweep.sweeps.measure.measures.dropout_path import DropoutPath
from landsweep.sweeps.measure.subject import Subject
from tests.support.small_networks import network
from tests.support.subjects import samples_of, subject_of


def pair_of(name: str, loss: str = "cross_entropy") -> Subject:
    a, inputs = network(name, 0, 30)
    b, _ = network(name, 1)
    targets = torch.arange(30) % 5
    wanted: Tensor = targets if loss == "cross_entropy" else nn.functional.one_hot(targets, 5).double()
    return subject_of(a.double(), b.double(), samples=samples_of(inputs.double(), wanted, loss))


@pytest.mark.parametrize("name", ["mlp", "mlp_batch", "cnn", "small_cnn", "cnn_s"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_no_loss_on_the_path_is_above_its_corners(name: str, loss: str) -> None:
    subject = pair_of(name, loss)
    (found,) = DropoutPath(draws=3, points=9).compute([subject])
    values = found.values
    highest, corner = values["dropout_path_loss"], values["dropout_path_corner"]
    assert isinstance(highest, float) and isinstance(corner, float)
    assert highest <= corner * (1 + 1e-9)
    for end, model in ((0, subject.models[0]), (-1, subject.models[1])):
        with torch.no_grad():
            own = subject.samples["train"].mean_loss(model.build())
        assert found.curves["dropout_path_loss"][end] == pytest.approx(float(own), rel=1e-9)
    layers = {"mlp": 3, "mlp_batch": 2, "cnn": 3, "small_cnn": 3, "cnn_s": 4}[name]
    assert values["dropout_path_pieces"] == 2 * (2 + 4 * (layers - 1)) + 3
    assert (values["dropout_path_error"] is None) == (loss == "mse")


def test_halves_are_the_networks_whose_activations_are_masked_and_scaled() -> None:
    module = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    x = torch.randn(9, 3, dtype=torch.float64)
    chain = chain_of(find_symmetry(module, x), [n for n, _ in module.named_parameters()])
    kept = [torch.tensor([1, 4, 6]), torch.tensor([0, 2, 5])]
    state = {k: t.clone() for k, t in module.state_dict().items()}
    other = {k: torch.randn_like(t) for k, t in state.items()}
    corners = dropout_path(chain, state, other, kept)

    def outputs(weights: dict[str, Tensor], masks: tuple[bool, bool]) -> Tensor:
        h = torch.tanh(x @ weights["0.weight"].T + weights["0.bias"])
        first, second = torch.zeros(7).double(), torch.zeros(6).double()
        first[kept[0]], second[kept[1]] = 7 / 3, 2.0
        h = h * first if masks[0] else h
        h = torch.relu(h @ weights["2.weight"].T + weights["2.bias"])
        h = h * second if masks[1] else h
        return h @ weights["4.weight"].T + weights["4.bias"]

    def at(i: int) -> Tensor:
        module.load_state_dict(corners[i])
        given: Tensor = module(x)
        return given

    for i, weights, masks in (
        (0, state, (False, False)),
        (1, state, (False, True)),
        (3, state, (True, True)),
        (5, state, (True, True)),
        (7, other, (True, True)),
        (-6, other, (True, True)),
        (-2, other, (False, True)),
        (-1, other, (False, False)),
    ):
        torch.testing.assert_close(at(i), outputs(weights, masks), rtol=1e-10, atol=1e-12)


def test_networks_of_equal_units_are_connected_without_a_barrier() -> None:
    """Any half of units that are all the same, scaled up, is the same function."""

    def equal(value: float) -> nn.Module:
        module = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)).double()
        for p in module.parameters():
            p.data.fill_(value)
        module[4].weight.data[1] *= -1
        return module

    x = torch.randn(20, 2, dtype=torch.float64)
    subject = subject_of(equal(0.3), equal(-0.1), samples=samples_of(x, torch.arange(20) % 2))
    (found,) = DropoutPath(draws=2).compute([subject])
    assert found.values["dropout_path_barrier"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["resnet_batch", "vit"])
def test_networks_that_are_no_chain_are_refused(name: str) -> None:
    a, inputs = network(name)
    subject = subject_of(a, network(name, 1)[0], samples=samples_of(inputs, torch.zeros(len(inputs), dtype=torch.long)))
    with pytest.raises(SpecError, match="hidden layers form a chain"):
        DropoutPath().check(subject)


def test_units_that_are_normalised_together_and_single_units_are_refused() -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))

    samples = samples_of(torch.randn(20, 3), torch.arange(20) % 2)
    with pytest.raises(SpecError, match="units that nothing reads change the loss"):
        list(DropoutPath().compute([subject_of(normed(), normed(), samples=samples)]))
    thin = [nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1), nn.ReLU(), nn.Linear(1, 2)]
    single = [nn.Sequential(*thin), nn.Sequential(*thin)]
    with pytest.raises(SpecError, match=r"form a chain, .* each layer has several"):
        DropoutPath().check(subject_of(*single, samples=samples))


def test_a_network_that_is_not_finite_has_no_finite_loss() -> None:
    subject = pair_of("mlp")
    broken = network("mlp", 2)[0].double()
    next(broken.parameters()).data.fill_(float("nan"))
    given = subject_of(subject.models[0].build(), broken, samples=subject.samples["train"])
    (found,) = DropoutPath(draws=2).compute([given])
    assert found.values["dropout_path_loss"] != found.values["dropout_path_loss"]
