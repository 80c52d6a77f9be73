"""Whether derivatives in the inputs rank these as Spearman's correlation does: sums of powers on a full grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.measure.rank_agreement import rank_agreement
from tests.support.subjects import samples_of, subject_of


class Powers(nn.Module):
    """sum_j w_j x_j^power: its k-th derivative in x_j has the size w_j |x_j|^(power - k), times a constant."""

    def __init__(self, weights: list[float], power: int) -> None:
        super().__init__()
        self.weights, self.power = nn.Parameter(torch.tensor(weights, dtype=torch.float64)), power

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs**self.power @ self.weights)[:, None]


@pytest.mark.parametrize(
    ("weights", "power", "agreement"),
    [
        ([1.0, 2.0, 4.0], 3, [1, 1, 1]),
        ([4.0, 2.0, 1.0], 3, [-1, -1, -1]),
        ([2.0, 1.0, 4.0], 3, [0.5, 0.5, 0.5]),  # 1 - 6 * (1 + 1) / (3 * 8)
        ([-1.0, 2.0, -4.0], 3, [1, 1, 1]),  # sizes, not signs
        ([1.0, 2.0, 4.0], 2, [1, 1, 0]),  # a derivative that vanishes ranks nothing
        ([1.0, 2.0, 4.0], 1, [1, 0, 0]),
    ],
)
def test_derivatives_of_a_sum_of_powers_rank_inputs_by_its_weights(
    weights: list[float], power: int, agreement: list[float]
) -> None:
    values = torch.linspace(-1, 1, 5, dtype=torch.float64)
    inputs = torch.cartesian_prod(values, values, values)  # columns independent and of one distribution
    targets = inputs @ torch.tensor([[1.0], [2.0], [-4.0]], dtype=torch.float64)  # by correlation: 1 < 2 < 4
    ranks = rank_agreement(subject_of(Powers(weights, power), samples=samples_of(inputs, targets, "mse")))
    assert ranks == pytest.approx(dict(zip(("first", "second", "third"), agreement, strict=True)), abs=1e-12)
