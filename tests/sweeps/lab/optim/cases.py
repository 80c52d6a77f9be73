"""Settings, reference implementations and a small problem for the tests of optimizers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import pytorch_optimizer as po
import torch
from dog import DoG, LDoG
from momo import Momo, MomoAdam
from numpy.typing import NDArray
from pydantic import TypeAdapter
from pytorch_optimizer.optimizer.muon import base as po_muon
from torch import Tensor, nn

from landsweep.sweeps.lab.optim import Linearised, Method, OptimizerSpec
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, StackedUpdater, Updater
from tests.sweeps.lab.optim import slow

STEPS = 20
SHAPES: list[tuple[int, ...]] = [(3, 4), (3,), ()]
MATRICES: list[tuple[int, ...]] = [(4, 3), (3, 4), (3,), (5, 3), (2, 3, 2), (2, 5)]
Settings: TypeAlias = dict[str, Any]
Peer: TypeAlias = Callable[[list[nn.Parameter], Settings], torch.optim.Optimizer]


def betas(s: Settings) -> tuple[float, float]:
    return (s["beta1"], s["beta2"])


def muon(p: list[nn.Parameter], s: Settings) -> torch.optim.Optimizer:
    """Groups as in its documentation: inner matrices, and all else by AdamW at its own rate."""
    wide = [x for x in p if x.ndim >= 2]
    served = wide if s["ends"] else wide[1:-1]
    others = [x for x in p if all(x is not y for y in served)]
    inner = {"params": served, "lr": s["learning_rate"], "weight_decay": s["weight_decay"], "use_muon": True}
    rest = {"params": others, "lr": s["adamw_learning_rate"], "betas": betas(s), "use_muon": False}
    rest |= {"eps": s["eps"], "weight_decay": s["adamw_weight_decay"]}
    return po.Muon(
        [inner, rest], momentum=s["momentum"], nesterov=s["nesterov"], ns_steps=s["rounds"], use_adjusted_lr=s["match"]
    )


PEERS: dict[str, Peer] = {
    "sgd": lambda p, s: torch.optim.SGD(
        p, s["learning_rate"], momentum=s["momentum"], weight_decay=s["weight_decay"], nesterov=s["nesterov"]
    ),
    "sgdw": lambda p, s: po.SGDW(  # which decays by lr wd
        p, s["learning_rate"], s["momentum"], s["weight_decay"] / s["learning_rate"], nesterov=s["nesterov"]
    ),
    "adamw_independent": lambda p, s: torch.optim.AdamW(
        p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"] / s["learning_rate"]
    ),
    "adam": lambda p, s: torch.optim.Adam(p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"]),
    "adamw": lambda p, s: torch.optim.AdamW(p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"]),
    "rmsprop": lambda p, s: torch.optim.RMSprop(
        p, s["learning_rate"], s["alpha"], s["eps"], s["weight_decay"], s["momentum"]
    ),
    "lion": lambda p, s: po.Lion(p, s["learning_rate"], betas(s), weight_decay=s["weight_decay"]),
    "nadamw": lambda p, s: torch.optim.NAdam(
        p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"], s["momentum_decay"], decoupled_weight_decay=True
    ),
    "ademamix": lambda p, s: po.AdEMAMix(
        p, s["learning_rate"], (*betas(s), s["beta3"]), s["weight_decay"], True,
        alpha=s["alpha"], t_alpha_beta3=s["ramp"] or None, eps=s["eps"],
    ),
    "grams": lambda p, s: po.Grams(
        p, s["learning_rate"], betas(s), weight_decay=s["weight_decay"], weight_decouple=True, eps=s["eps"]
    ),
    "swats": lambda p, s: po.SWATS(p, s["learning_rate"], betas(s), s["weight_decay"], eps=s["eps"]),
    "gravity": lambda p, s: po.Gravity(p, s["learning_rate"], s["alpha"], s["beta"]),
    "stable_spam": lambda p, s: po.StableSPAM(
        p, s["learning_rate"], betas(s), s["gamma1"], s["gamma2"], s["theta"],
        weight_decay=s["weight_decay"], update_proj_gap=s["reset"], eps=s["eps"],
    ),
    "sam": lambda p, s: po.SAM(
        p, torch.optim.SGD if s["base"] == "sgd" else torch.optim.AdamW, s["rho"], s["adaptive"],
        lr=s["learning_rate"], weight_decay=s["weight_decay"],
        **({"momentum": s["momentum"], "nesterov": s["nesterov"]} if s["base"] == "sgd" else {"betas": betas(s)}),
    ),
    "muon": muon,
    "soap": lambda p, s: po.SOAP(
        p, s["learning_rate"], betas(s), s["shampoo_beta"], s["weight_decay"], s["every"], s["max_axis"], eps=s["eps"]
    ),
    "dog": lambda p, s: (LDoG if s["layerwise"] else DoG)(
        p, s["first_step"], s["learning_rate"], s["weight_decay"], s["eps"]
    ),
    "momo": lambda p, s: Momo(
        p, s["learning_rate"], s["weight_decay"], s["beta"], s["lowest"], use_fstar=s["estimate"]
    ),
    "momo_adam": lambda p, s: MomoAdam(
        p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"], s["lowest"], use_fstar=s["estimate"]
    ),
    "prodigy": lambda p, s: po.Prodigy(
        p, s["learning_rate"], betas(s), s["beta3"], s["first"], s["coef"], s["growth"] or float("inf"),
        s["weight_decay"], bias_correction=s["correct"], eps=s["eps"],
    ),
    "dadapt_adam": lambda p, s: po.DAdaptAdam(
        p, s["learning_rate"], betas(s), s["first"], s["growth"] or float("inf"), s["weight_decay"],
        weight_decouple=True, bias_correction=s["correct"], eps=s["eps"],
    ),
    "schedule_free_sgd": lambda p, s: po.ScheduleFreeSGD(
        p, s["learning_rate"], s["momentum"], s["weight_decay"], s["r"], s["power"]
    ),
    "schedule_free_adamw": lambda p, s: po.ScheduleFreeAdamW(
        p, s["learning_rate"], betas(s), s["weight_decay"], s["r"], s["power"], eps=s["eps"]
    ),
    "swan": slow.Swan,
    "frugal": slow.Frugal,
    "gam": slow.Gam,
    "entropy_sgd": slow.EntropySgd,
    "ortho_grad": lambda p, s: po.OrthoGrad(
        torch.optim.SGD(p, s["learning_rate"], s["momentum"], weight_decay=s["weight_decay"], nesterov=s["nesterov"])
        if s["base"] == "sgd"
        else torch.optim.AdamW(p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"])
    ),
    "u_dog": slow.UDog,
    "induced_metric": slow.InducedMetric,
    "egn": slow.Egn,
    "critical_adam": lambda p, s: slow.CriticalAdam(
        p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"], s["fading"], s["kept"]
    ),
}  # fmt: skip


def case(method: str, *each: Settings) -> list[Settings]:
    """One pack: a model for each of these settings."""
    return [{"method": method, **s} for s in each]


CASES: list[list[Settings]] = [
    case("sgd", {"learning_rate": 0.1}, {"learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.01}),
    case(
        "sgd",
        {"learning_rate": 0.05, "momentum": 0.5, "nesterov": True},
        {"learning_rate": 0.01, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1},
    ),
    *(
        case(
            method,
            {"learning_rate": 1e-2},
            {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95},
            {"learning_rate": 1e-3, "weight_decay": 0.01, "beta1": 0.0, "beta2": 0.5},
        )
        for method in ("adam", "adamw", "adamw_independent", "lion", "nadamw", "grams", "stable_spam")
    ),
    *(
        case(
            "sgdw",
            {"learning_rate": 0.1, "momentum": 0.5, "nesterov": nesterov},
            {"learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.01, "nesterov": nesterov},
        )
        for nesterov in (False, True)
    ),
    case(
        "rmsprop",
        {"learning_rate": 1e-2},
        {"learning_rate": 1e-3, "momentum": 0.9, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05},
    ),
    case(
        "ademamix",
        {"learning_rate": 1e-2},
        {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "beta3": 0.99, "alpha": 2.0, "ramp": 12},
        {"learning_rate": 1e-3, "beta1": 0.95, "beta3": 0.999, "alpha": 8.0, "ramp": 40},
    ),
    case("gravity", {"learning_rate": 0.1}, {"learning_rate": 0.02, "alpha": 0.003, "beta": 0.5}),
    case(
        "stable_spam",
        {"learning_rate": 1e-2, "reset": 7},
        {"learning_rate": 3e-3, "reset": 7, "gamma1": 0.5, "gamma2": 0.8, "theta": 0.9, "weight_decay": 0.1},
    ),
    case(
        "sam",
        {"learning_rate": 0.05},
        {"learning_rate": 0.02, "rho": 0.3, "momentum": 0.9, "weight_decay": 0.01},
    ),
    case(
        "sam",
        {"learning_rate": 0.05, "adaptive": True, "eta": 0.0, "rho": 0.5},
        {"learning_rate": 0.02, "adaptive": True, "eta": 0.0, "rho": 0.2, "momentum": 0.5},
    ),
    case(
        "sam",
        {"base": "adamw", "learning_rate": 1e-2},
        {"base": "adamw", "learning_rate": 3e-3, "rho": 0.2, "beta1": 0.8, "weight_decay": 0.1},
    ),
    *(
        case(
            "muon",
            {"learning_rate": 0.02, **shared},
            {
                "learning_rate": 0.005,
                "momentum": 0.8,
                "weight_decay": 0.1,
                "adamw_learning_rate": 1e-2,
                "adamw_weight_decay": 0.2,
                "beta1": 0.8,
                **shared,
            },
        )
        for shared in ({}, {"ends": True, "match": True, "nesterov": False})
    ),
    case(
        "soap",  # the second gradient is the first one again: in its own basis mostly 0, which only eps keeps down
        {"learning_rate": 3e-3, "every": 6, "weight_decay": 0.0, "eps": 1e-2},
        {"learning_rate": 1e-2, "every": 6, "beta1": 0.8, "beta2": 0.9, "shampoo_beta": 0.8, "eps": 0.3},
    ),
    *(
        case(
            "dog",
            {"layerwise": layerwise, "first_step": 1e-2},
            {"layerwise": layerwise, "learning_rate": 0.5, "first_step": 1e-3, "weight_decay": 0.1},
        )
        for layerwise in (False, True)
    ),
    *(
        case(
            method,
            {"learning_rate": rate, "estimate": estimate},
            {"learning_rate": rate / 8, "estimate": estimate, "weight_decay": 0.1, "lowest": 0.3},
        )
        for method, rate in (("momo", 0.2), ("momo_adam", 0.2))
        for estimate in (False, True)
    ),
    *(
        case(
            "prodigy",
            {"first": 1e-2, "correct": correct, "growth": 1.3, "beta2": 0.95},
            {"first": 3e-3, "correct": correct, "weight_decay": 0.1, "coef": 0.5, "beta2": 0.99},
        )
        for correct in (False, True)
    ),
    *(
        case(
            "dadapt_adam",
            {"first": 1e-2, "correct": correct, "growth": 1.3, "beta2": 0.95},
            {"first": 3e-3, "correct": correct, "weight_decay": 0.1, "beta2": 0.99, "growth": 1.2},
        )
        for correct in (False, True)
    ),
    case("schedule_free_sgd", {"learning_rate": 0.1}, {"learning_rate": 0.03, "momentum": 0.5, "weight_decay": 0.1}),
    case("schedule_free_sgd", {"learning_rate": 0.1, "r": 2.0}, {"learning_rate": 0.05, "power": 0.0}),
    case(
        "schedule_free_adamw",
        {"learning_rate": 1e-2},
        {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95, "r": 1.0, "power": 1.0},
    ),
    *(
        case(
            "critical_adam",
            {"learning_rate": 1e-2, "kept": kept},
            {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "fading": 0.95, "kept": kept},
            {"learning_rate": 0.03, "beta2": 0.9, "fading": 0.0, "kept": kept},
        )
        for kept in (1, 3)
    ),
    *(
        case(
            "swan",
            {"learning_rate": 1e-2, **shared},
            {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95, **shared},
        )
        for shared in ({}, {"ends": True, "rounds": 5})
    ),
    *(
        case(
            "frugal",
            {"learning_rate": 1e-2, **shared},
            {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "free_factor": 0.3, **shared},
        )
        for shared in ({"density": 0.4, "every": 6}, {"density": 0.0, "every": 1}, {"density": 1.0})
    ),
    case(
        "gam",
        {"learning_rate": 0.02},
        {"learning_rate": 0.01, "rho": 0.3, "rho_norm": 0.1, "gamma": 0.5, "momentum": 0.9, "weight_decay": 0.01},
    ),
    case(
        "gam",
        {"base": "adamw", "learning_rate": 1e-2},
        {"base": "adamw", "learning_rate": 3e-3, "gamma": 0.0, "beta1": 0.8, "weight_decay": 0.1},
    ),
    *(
        case(
            "entropy_sgd",
            {"learning_rate": 0.5, "walk": 5, "momentum": 0.5, "nesterov": nesterov},
            {
                "learning_rate": 0.2,
                "walk": 5,
                "momentum": 0.9,
                "nesterov": nesterov,
                "weight_decay": 0.01,
                "walk_rate": 0.03,
                "noise": 0.1,
                "memory": 0.5,
                "scope": 0.3,
                "scope_growth": 0.05,
            },
        )
        for nesterov in (False, True)
    ),
    case("ortho_grad", {"learning_rate": 0.05}, {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.1}),
    case(
        "ortho_grad",
        {"base": "adamw", "learning_rate": 1e-2},
        {"base": "adamw", "learning_rate": 3e-3, "beta1": 0.8, "weight_decay": 0.1},
    ),
    case("u_dog", {"first_step": 1e-2}, {"learning_rate": 0.5, "first_step": 1e-3, "weight_decay": 0.1}),
    *(
        case(
            "induced_metric",
            {"learning_rate": 0.02, "surface": surface},
            {"learning_rate": 0.01, "surface": surface, "xi": 2.0, "momentum": 0.5, "beta": 0.5, "weight_decay": 0.1},
            {"learning_rate": 0.01, "surface": surface, "momentum": 0.0, "beta": 0.0, "beta2": 0.9},
        )
        for surface in ("loss", "log_loss", "rms")
    ),
    case("egn", {}, {"learning_rate": 0.05, "damping": 0.3, "momentum": 0.9, "weight_decay": 0.1}),
    case("swats", {"learning_rate": 1e-2}, {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95}),
]


def shapes_of(settings: list[Settings]) -> list[tuple[int, ...]]:
    """SWATS's peer is the paper's algorithm for a single tensor only; methods on matrices need some.

    SOAP's first basis is that of one gradient's L: it must have no null space of two dimensions, in which any is right.
    """
    special = {
        "swats": [(3, 4)],
        "ortho_grad": [(3, 4), (3,)],  # a single number does not move
        **dict.fromkeys(("muon", "swan", "frugal"), MATRICES),
        "soap": [(3, 3), (4, 4), (3,), (2, 3, 2)],
    }
    return special.get(settings[0]["method"], SHAPES)


def methods(settings: list[Settings]) -> list[Method]:
    return [TypeAdapter(OptimizerSpec).validate_python(s) for s in settings]


def recipes(settings: list[Settings], **more: Any) -> list[Recipe]:
    data = {"data": {"source": "digits"}, "net": {"net": "mlp"}, "steps": STEPS, **more}
    return [Recipe.model_validate({**data, "optimizer": s}) for s in settings]


class Bag(nn.Module):
    """Some tensors without a network around them."""

    def __init__(self, seed: int, dtype: torch.dtype, shapes: list[tuple[int, ...]] | None = None) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        drawn = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes or SHAPES)
        self.tensors = nn.ParameterList(nn.Parameter(t.to(dtype)) for t in drawn)


def slope(w: Tensor) -> Tensor:
    """Gradient of a function that is not quadratic, so that errors do not cancel."""
    return torch.sin(3 * w) + 0.3 * w


def slope_of_array(w: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sin(3 * w) + 0.3 * w


def losses(rows: Tensor) -> Tensor:
    """The function itself, of rows [K, P]: never below 0."""
    return ((1 - torch.cos(3 * rows)) / 3 + 0.15 * rows.square()).sum(1)


@contextmanager
def all_in(dtype: torch.dtype) -> Iterator[None]:
    """References compute some scalars in torch's default type, Muon's iterations in bfloat16: here all in `dtype`."""
    torch.set_default_dtype(dtype)
    rounds = po_muon.zero_power_via_newton_schulz_5
    po_muon.zero_power_via_newton_schulz_5 = functools.partial(rounds, dtype=dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        po_muon.zero_power_via_newton_schulz_5 = rounds


def advance(peer: torch.optim.Optimizer, bag: Bag) -> None:
    """One step of a reference, by the protocol that it has."""
    whole = torch.cat([p.detach().flatten() for p in bag.parameters()])[None]

    def gradients() -> None:
        for p in bag.parameters():
            p.grad = slope(p.detach())

    gradients()
    if isinstance(peer, po.SAM):
        peer.first_step()
        gradients()
        peer.second_step()
    elif isinstance(peer, Momo | MomoAdam):
        peer.step(loss=losses(whole)[0])
    elif isinstance(peer, slow.InducedMetric):
        peer.loss = float(losses(whole)[0])
        peer.step()
    else:
        peer.step(gradients if isinstance(peer, slow.Gam | slow.EntropySgd | slow.UDog) else None)


def linearised(stack: Stack, k: int) -> Linearised:
    """The small model of `slow.outputs` with the weights of a row."""
    row = stack.weights[k].double()
    found = slow.outputs(row)
    jacobian = torch.func.jacrev(slow.outputs)(row)
    bends = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).expand(slow.SAMPLES, 2, 2)
    parts = jacobian, 2 * (found - 1) + found.flip(1), bends
    return Linearised(*(t.to(stack.weights.dtype) for t in parts))


def trained(
    settings: list[Settings], dtype: torch.dtype, make: Callable[[Stack], Updater] | None = None
) -> tuple[Stack, Rates, Updater]:
    """The stack after 20 steps with a cosine schedule."""
    shapes = shapes_of(settings)
    stack = Stack([Bag(seed, dtype, shapes) for seed in range(len(settings))], "cpu")
    updater = make(stack) if make else StackedUpdater(methods(settings), stack, range(len(settings)))
    rates = Rates(recipes(settings, schedule={"shape": "cosine"}), STEPS)
    for step in range(STEPS):
        again = functools.partial(lambda: slope(stack.weights))
        model = functools.partial(linearised, stack)
        updater.step(stack, Gradients(slope(stack.weights), losses(stack.weights), again, model), rates, step)
    return stack, rates, updater


def referred(settings: list[Settings], dtype: torch.dtype) -> Tensor:
    """The weights [K, P] after 20 steps of the references with a cosine schedule."""
    rows = []
    for k, spec in enumerate(m.model_dump() for m in methods(settings)):
        bag = Bag(k, dtype, shapes_of(settings))
        peer = PEERS[spec["method"]](list(bag.parameters()), spec)
        if spec["method"] == "gravity":
            start(peer, bag, methods(settings)[k], k)
        if isinstance(peer, slow.Frugal | slow.EntropySgd):
            peer.seed = k
        rates = Rates(recipes(settings, schedule={"shape": "cosine"}), STEPS)
        peaks = [group["lr"] for group in peer.param_groups]
        for step in range(STEPS):
            share = rates.learning_rates(step)[k] / spec["learning_rate"]
            for group, peak in zip(peer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            advance(peer, bag)
        last = torch.cat([p.detach().flatten() for p in bag.parameters()])
        rows.append(peer.last() if isinstance(peer, slow.UDog) else last)
    return torch.stack(rows)


def start(peer: torch.optim.Optimizer, bag: Bag, method: Method, seed: int) -> None:
    """Give Gravity's reference the random velocities of ours."""
    stack = Stack([bag], "cpu")
    drawn = method.start(stack.weights[0], stack.layout, seed)["velocity"]
    for p, v in zip(bag.parameters(), stack.layout.split(drawn[None]).values(), strict=True):
        peer.state[p]["v"] = v[0].clone()
