"""The maximal update parametrization, muP, in both published forms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule

__all__ = ["Mup", "mup_rule"]

Form = Literal["multiplier", "rate"]
Omission = Literal["hidden_rate", "output", "attention"]


class Mup(Parametrization):
    """muP (arXiv 2203.03466): every layer's outputs change by O(1) in a step, whatever the width.

    With m = width / base width, as factors of what holds at the base width:

    ==========================  =====  ==========  ===========  ==========  ===========
    tensor                      init   multiplier  rate (Adam)  rate (SGD)  rate (Muon)
    ==========================  =====  ==========  ===========  ==========  ===========
    input, embedding, bias      1      1           1            m           √m
    hidden                      1/√m   1           1/m          1           1
    output, form `multiplier`   1      1/m         1            m           √m
    output, form `rate`         1/m    1           1/m          1/m         1/√m
    ==========================  =====  ==========  ===========  ==========  ===========

    `multiplier` is table 8 of the paper and what the package `mup` does, `rate` its table 3; they are the same function
    with the same updates. Biases and gains whose length does not grow keep all factors at 1. Attention scores are
    divided by the size of a head instead of its root: a multiplier of the query layer. Adam's eps stays, as in `mup`.

    Adam's column holds for every method whose elements step by one size: RMSprop, Lion, NAdamW, AdEMAMix, Grams,
    Stable-SPAM. Muon's keeps the singular values of a step in proportion to √(outputs / inputs), the spectral condition
    of arXiv 2310.17813; it is what the step should grow by, so that growth which Muon's own factor √(rows / columns)
    or `match` already makes is taken off. It serves the tensors that Muon does; the others have Adam's.
    """

    scheme: Literal["mup"]
    form: Form = Field("multiplier", description="which of the two equivalent tables")
    omit: tuple[Omission, ...] = Field(
        (), description="rules to leave out, to see what each is for (SGD has no rule for hidden rates)"
    )

    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        return mup_rule(part, growth, family, self.form, self.omit)


def mup_rule(
    part: NetTensor, growth: Growth, family: Family, form: Form = "multiplier", omit: tuple[Omission, ...] = ()
) -> Rule:
    """The rule of muP for one tensor; other schemes build on it."""
    m = growth.width
    if part.role == "output" and part.grows_in:
        if "output" in omit:
            return Rule(init=m**-0.5)
        if form == "rate":
            return Rule(init=1 / m, rate=m**-0.5 if family == "spectral" else 1 / m)
        return Rule(multiplier=1 / m, rate={"sgd": m, "adam": 1.0, "spectral": m**0.5}[family])
    attention = growth.head**-0.5 if part.query and "attention" not in omit else 1.0
    if part.role == "hidden":
        rate = 1.0 if family != "adam" or "hidden_rate" in omit else 1 / m
        return Rule(init=m**-0.5, multiplier=attention, rate=rate)
    power = {"sgd": 1.0, "adam": 0.0, "spectral": 0.5}[family]
    return Rule(multiplier=attention, rate=m**power if part.grows_out else 1.0)
