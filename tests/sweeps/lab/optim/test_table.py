"""The table of optimizers in the documentation says what the code does."""

from __future__ import annotations

import re
from typing import get_args

import torch

from landsweep.sweeps.lab.optim import Method, NamedClass, OptimizerSpec
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import StackedUpdater
from tests.support.paths import ROOT
from tests.sweeps.lab.optim.problem import Bag

TABLE = (ROOT / "docs/optimizers.md").read_text(encoding="utf-8").split("\n## ")[0]
ROWS = {r[0].strip("` "): r for r in (line.strip("| ").split(" | ") for line in re.findall(r"^\| `.*", TABLE, re.M))}
CLASSES: dict[str, type[Method]] = {
    get_args(c.model_fields["method"].annotation)[0]: c for c in get_args(get_args(OptimizerSpec)[0])
}


def test_every_method_has_a_row() -> None:
    assert set(ROWS) == set(CLASSES)


def test_settings_and_what_may_not_differ_in_a_pack() -> None:
    for name, kind in CLASSES.items():
        fields = set(kind.model_fields) - {"method", "learning_rate", "weight_decay"}
        told = ROWS[name][2]
        bold = set(re.findall(r"\*\*(\w+)\*\*", told))
        assert bold == fields - set(kind.per_model), name
        if name not in ("sam", "class"):  # which tell theirs in words
            assert set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", told))) == fields, name


def test_gradients_and_memory() -> None:
    stack = Stack([Bag(0, torch.float32, [(40, 30), (30,), (20, 30), (20,)])], "cpu")
    for name, kind in CLASSES.items():
        if kind is NamedClass:
            continue
        method = kind.model_validate({"method": name, "learning_rate": 0.1})
        assert ROWS[name][3].split(" ")[0] == str(method.gradients), name
        state = StackedUpdater([method], stack).state()
        copies = sum(t.numel() for t in state.values()) / stack.layout.size
        expected = (
            2 + 2 * (40**2 + 30**2 + 20**2 + 30**2) / stack.layout.size if name == "soap" else int(ROWS[name][4][0])
        )
        assert abs(copies - expected) < 0.02, name
