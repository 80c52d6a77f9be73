"""The reference implementation of each stacked optimizer, made for the settings of one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytorch_optimizer as po
import torch
from dog import DoG, LDoG
from momo import Momo, MomoAdam
from torch import nn

from tests.sweeps.lab.optim import one_model
from tests.sweeps.lab.optim.cases import Settings

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
    "swan": one_model.Swan,
    "frugal": one_model.Frugal,
    "gam": one_model.Gam,
    "entropy_sgd": one_model.EntropySgd,
    "ortho_grad": lambda p, s: po.OrthoGrad(
        torch.optim.SGD(p, s["learning_rate"], s["momentum"], weight_decay=s["weight_decay"], nesterov=s["nesterov"])
        if s["base"] == "sgd"
        else torch.optim.AdamW(p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"])
    ),
    "u_dog": one_model.UDog,
    "induced_metric": one_model.InducedMetric,
    "egn": one_model.Egn,
    "critical_adam": lambda p, s: one_model.CriticalAdam(
        p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"], s["fading"], s["kept"]
    ),
}  # fmt: skip
