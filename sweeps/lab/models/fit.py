"""Whether a network and data fit together, asked before anything is trained."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.callables import refused
from landsweep.orchestrator.calling import has_come_back
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data
from landsweep.sweeps.lab.models.base import Net, number_type
from landsweep.sweeps.lab.models.catalogue import families
from landsweep.sweeps.lab.models.own import OwnNet
from landsweep.sweeps.lab.settings import settings_kept

__all__ = ["check_fit", "misfit_in_words"]


def misfit_in_words(net: Net, data: Data) -> str | None:
    """Why a network can't be trained on such data, and which ones can; None where it can."""
    if (problem := net.misfit(data)) is None:
        return None
    others = ", ".join(families(lambda n: data.kind in n.takes))
    return f"{net.family} {problem}; networks for {data.kind}: {others}"


@settings_kept()
def check_fit(net: Net, data: Data, folder: Path = Path(), field: str = "net") -> None:
    """Compare sizes, then put two samples through the network; through its skeleton where that tells as much.

    Args:
        net: the network.
        data: any split of it will do.
        folder: that relative paths start from.
        field: of the spec that holds the network, for the message.

    Raises:
        SpecError: they do not fit; names the field, what it is and what is allowed.
    """
    if not data.outputs:
        raise SpecError(
            f"{field}: the data has neither classes nor targets to regress on, so no network can be trained"
        )
    whole = next(iter(data.splits.values()))
    split = whole.head(2)
    if split.targets.is_floating_point() and split.targets.ndim < 2:
        shape = [len(whole), *split.targets.shape[1:]]
        raise SpecError(f"data: targets to regress on must have the shape [n, outputs], not {shape}")
    if problem := misfit_in_words(net, data):
        raise SpecError(f"{field}: {problem}")
    # A skeleton needs no weights to be drawn; but it looks up no tokens, so it would miss those that are too large.
    real = net.own_code or data.kind == "tokens"
    expected = [*split.targets[:2].shape[: 2 if data.sequence else 1], data.outputs]
    two = split.inputs[:2].to("cpu" if real else "meta", copy=True)
    with refused(field, net.function) if isinstance(net, OwnNet) else nullcontext():
        module = net.build(data.shape, data.outputs, 0, folder) if real else net.skeleton(data.shape, data.outputs)
        problem = f"{field}: {net.family} can't take the data's {data.kind} {list(data.shape)}"
        given = two.clone() if real else two  # `two` stays to compare with
        result = _passed(module.eval(), given, problem)
    has_come_back()
    if real and not torch.equal(given, two):
        raise SpecError(
            f"{field}: the network writes into its inputs, which other models read too; begin with an operation that "
            "makes a new tensor (not inplace=True)"
        )
    output = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
    if output != expected:
        raise SpecError(f"{field}: {net.family} gives {output} for two samples, but the data needs {expected}")


def _passed(module: nn.Module, inputs: Tensor, problem: str) -> object:
    """What a network makes of samples.

    Raises:
        SpecError: it can't take them.
    """
    try:
        with torch.no_grad():
            output: object = module(inputs.to(number_type(module)) if inputs.is_floating_point() else inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as e:
        if of_the_machine(e):
            raise
        raise SpecError(f"{problem}: {e}") from e
    return output
