"""Products against whole matrices by autograd, for every network, batch size and matrix; packs against one alone."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature import Matrix, Objective, product_with
from landsweep.sweeps.lab.curvature import products as room
from landsweep.sweeps.lab.losses import LOSSES
from tests.support.curvature import CASES, Case, dense

MATRICES: tuple[Matrix, ...] = ("hessian", "ggn", "empirical_fisher")


def objective(case: Case, models: int = 3, batch_size: int = 100) -> Objective:
    modules = [case.module(seed) for seed in range(models)]
    return Objective.of(modules, case.inputs, case.targets, LOSSES[case.loss], batch_size)


def whole(matrix: Matrix, given: Objective) -> Tensor:
    """Matrices [K, P, P], column by column."""
    product = product_with(matrix, given)
    k, p = given.weights.shape
    return torch.stack([product(row.expand(k, p)) for row in torch.eye(p, dtype=torch.float64)], 2)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", CASES)
def test_a_product_is_with_the_matrix_of_autograd(name: str, matrix: Matrix) -> None:
    case = CASES[name]
    given = objective(case, models=2, batch_size=8)  # the last batch is smaller
    product = product_with(matrix, given)
    g = torch.Generator().manual_seed(0)
    vectors = [torch.randn(given.weights.shape, generator=g, dtype=torch.float64) for _ in range(3)]
    each = torch.stack([product(v) for v in vectors], 2)
    for k in range(2):
        wanted = dense(case, case.module(k), matrix) @ torch.stack([v[k] for v in vectors], 1)
        torch.testing.assert_close(each[k], wanted, rtol=1e-9, atol=1e-11)
        alone = product_with(matrix, given.alone(k))(vectors[0][k : k + 1])
        torch.testing.assert_close(each[k, :, 0], alone[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("matrix", MATRICES)
def test_graphs_that_do_not_fit_are_built_anew_with_the_same_numbers(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = objective(CASES["mlp"], batch_size=5)
    vectors = torch.randn(given.weights.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = product_with(matrix, given)(vectors)
    monkeypatch.setattr(room, "_KEPT", 0)
    anew = product_with(matrix, given)
    assert torch.equal(anew(vectors), kept) and torch.equal(anew(vectors), kept)


@pytest.mark.parametrize("name", ["mlp", "relu", "gpt"])
def test_a_model_has_the_same_bits_whatever_stands_beside_it(name: str) -> None:
    case = CASES[name]
    for dtype in (torch.float32, torch.float64):
        together = objective(case, models=7).to(dtype)
        v = torch.randn(together.weights.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        wanted = product_with("hessian", together)(v)
        for k in (0, 3, 6):
            one = Objective.of([case.module(k)], case.inputs, case.targets, LOSSES[case.loss], 100).to(dtype)
            assert torch.equal(product_with("hessian", one)(v[k : k + 1])[0], wanted[k])


def test_closed_forms_of_linear_models() -> None:
    """Mean squared error: 2 X'X / n over the outputs, of which the loss is a mean. Softmax regression: H = GGN."""
    case = CASES["linear"]
    block = 2 * case.inputs.T @ case.inputs / len(case.inputs) / 3
    given = whole("hessian", objective(case, models=1))[0]
    torch.testing.assert_close(given, torch.block_diag(block, block, block), rtol=1e-12, atol=1e-14)
    softmax = objective(CASES["softmax"])
    torch.testing.assert_close(whole("hessian", softmax), whole("ggn", softmax), rtol=1e-12, atol=1e-15)


def test_of_zero_weights_softmax_regression_on_the_digits_has_a_product_as_its_hessian() -> None:
    """(I - J / C) / C of C classes, times the mean of x x', x with a 1 for the biases: at least 65 null directions."""
    digits = load_digits()
    inputs = torch.tensor(digits.data[:300] / 16)
    module = nn.Linear(64, 10).double()
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    given = Objective.of([module], inputs, torch.tensor(digits.target[:300]), LOSSES["cross_entropy"], 300)
    values = torch.linalg.eigvalsh(whole("hessian", given)[0])
    extended = torch.cat([inputs, torch.ones(300, 1, dtype=torch.float64)], 1)
    moments = torch.linalg.eigvalsh(extended.T @ extended / 300)
    wanted = torch.cat([torch.zeros(65, dtype=torch.float64), (moments / 10).repeat(9)]).sort().values
    torch.testing.assert_close(values, wanted, rtol=1e-10, atol=1e-13)
    assert int((values.abs() < 1e-12).sum()) >= 65


def test_of_cross_entropy_the_gauss_newton_matrix_is_the_fisher_matrix() -> None:
    case = CASES["mlp"]
    wanted = dense(case, case.module(1), "fisher")
    torch.testing.assert_close(whole("ggn", objective(case))[1], wanted, rtol=1e-10, atol=1e-13)


def repeated(case: Case, times: int) -> Case:
    return Case(case.build, case.inputs.repeat(times, 1), case.targets.repeat(times), case.loss)


@pytest.mark.parametrize("name", ["mlp", "relu", "softmax"])
def test_with_drawn_labels_the_empirical_fisher_matrix_is_about_that_of_all_labels(name: str) -> None:
    """Each sample comes 300 times, each time with a label of its own; an error falls as the root of that."""
    case = CASES[name]
    given = objective(repeated(case, 300), models=2, batch_size=10_000)
    for k, each in enumerate(whole("sampled_fisher", given)):
        wanted = dense(case, case.module(k), "fisher")
        assert (each - wanted).norm() < 0.08 * wanted.norm()
        with_given_labels = dense(case, case.module(k), "empirical_fisher")
        assert (with_given_labels - wanted).norm() > 0.1 * wanted.norm()


def test_drawn_labels_do_not_depend_on_the_company_the_batches_or_the_given_labels() -> None:
    case = CASES["mlp"]
    alone = whole("sampled_fisher", objective(case, models=1))[0]
    assert torch.equal(whole("sampled_fisher", objective(case, models=1))[0], alone)
    other = Case(case.build, case.inputs, (case.targets + 1) % 3, case.loss)
    for changed in (objective(case, models=4), objective(case, models=1, batch_size=7), objective(other, models=1)):
        torch.testing.assert_close(whole("sampled_fisher", changed)[0], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "loss", "words"),
    [
        ("mlp_mse", "mse", "these targets are numbers; use ggn"),
        ("gpt", "cross_entropy", "these targets are sequences; use ggn"),
        ("mlp", "mse", "is defined for the loss cross_entropy; use ggn"),
    ],
)
def test_labels_that_can_not_be_drawn_are_refused(name: str, loss: str, words: str) -> None:
    case = CASES[name]
    given = Objective.of([case.module()], case.inputs, case.targets, LOSSES[loss], 10)
    with pytest.raises(SpecError, match=f"matrix: sampled_fisher .*{words}"):
        product_with("sampled_fisher", given)


def test_a_block_of_the_matrix_is_that_of_the_parameters_named() -> None:
    case = CASES["mlp"]
    module = case.module(2)
    given = Objective.of([module], case.inputs, case.targets, LOSSES[case.loss], 8, parameters=["2.*"])
    torch.testing.assert_close(whole("hessian", given)[0], dense(case, module)[36:64, 36:64], rtol=1e-10, atol=1e-13)
    with pytest.raises(SpecError, match=r"'3\.\*' is the name of no trained parameter; there are 0.weight"):
        Objective.of([module], case.inputs, case.targets, LOSSES[case.loss], 8, parameters=["3.*"])


def test_frozen_weights_are_constants_and_models_may_have_samples_of_their_own() -> None:
    case = CASES["relu"]
    modules = [case.module(seed) for seed in range(2)]
    for m in modules:
        m.get_submodule("0").requires_grad_(False)
    x = [case.inputs[:9], case.inputs[9:18]]
    y = [case.targets[:9], case.targets[9:18]]
    both = Objective.of(modules, x, y, LOSSES["cross_entropy"], 4)
    for k, each in enumerate(whole("hessian", both)):
        few = Case(case.build, x[k], y[k], case.loss)
        torch.testing.assert_close(each, dense(few, case.module(k))[48:, 48:], rtol=1e-10, atol=1e-13)


def test_losses_and_gradients_are_those_of_the_mean() -> None:
    case = CASES["cnn_batch_norm"]
    given = objective(case, batch_size=5)
    losses, gradients = given.gradient()
    for k in range(3):
        module = case.module(k)
        loss = LOSSES[case.loss](module(case.inputs), case.targets).mean()
        wanted = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        torch.testing.assert_close(losses[k], loss.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(gradients[k], wanted, rtol=1e-10, atol=1e-14)
    assert torch.equal(given.losses(), losses)


def test_a_loss_without_gradient_and_an_operation_without_second_derivative_are_refused() -> None:
    case = CASES["mlp"]
    given = Objective.of([case.module()], case.inputs, case.targets, LOSSES["error"], 100)
    with pytest.raises(SpecError, match="the loss has no gradient"):
        product_with("hessian", given)

    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(super().forward(x), torch.eye(3, dtype=x.dtype))

    net = Objective.of([Net(5, 3).double()], case.inputs, case.targets, LOSSES["cross_entropy"], 100)
    with pytest.raises(SpecError, match="has no second derivative"):
        product_with("hessian", net.alone(0))(net.weights)


def test_fused_attention_has_its_second_derivative() -> None:
    class Attention(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            q = super().forward(x).view(-1, 1, 3, 1)
            return nn.functional.scaled_dot_product_attention(q, q, q).flatten(1)

    case = CASES["softmax"]
    built = Case(lambda seed: Attention(5, 3, bias=False), case.inputs, case.targets, "cross_entropy")
    given = Objective.of([built.module()], case.inputs, case.targets, LOSSES["cross_entropy"], 7)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        wanted = dense(built, built.module())
    torch.testing.assert_close(whole("hessian", given)[0], wanted, rtol=1e-10, atol=1e-13)
