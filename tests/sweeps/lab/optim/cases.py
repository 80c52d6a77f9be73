"""Settings with which each stacked optimizer is compared with its reference: packs of a few models."""

from __future__ import annotations

from typing import Any, TypeAlias

SHAPES: list[tuple[int, ...]] = [(3, 4), (3,), ()]
MATRICES: list[tuple[int, ...]] = [(4, 3), (3, 4), (3,), (5, 3), (2, 3, 2), (2, 5)]
Settings: TypeAlias = dict[str, Any]


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
