"""A new network is a file of its own and its name in the catalogue: everything else asks its class.

The package is copied, a file and a name are added to the copy, and a process of its own uses it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.lab.flops import closed_form, count, measured
from landsweep.sweeps.lab.models import Mlp, OwnNet, check_fit
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.catalogue import families, networks
from landsweep.sweeps.lab.models.resize import lacking, resized
from landsweep.sweeps.lab.parametrization import Mup
from tests.support.copied import LANDSWEEP, copy_package, run_python

FILE = '''
"""A residual network of linear layers."""

from collections import OrderedDict
from typing import ClassVar, Literal

from torch import nn

from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.count import Count


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)

    def forward(self, x):
        return x + self.down(self.act(self.up(x)))


class Tower(Net):
    """Linear, `depth` residual blocks, linear."""

    takes = ("vectors",)
    sizes = frozenset(("width", "depth"))
    net: Literal["tower"]
    width: int = 8
    depth: int = 2

    def residual_blocks(self, depth):
        return depth

    def branch_ends(self):
        return frozenset(("down.weight", "down.bias"))

    def closed_form(self, shape, outputs):
        w = self.width
        first, blocks, last = shape[0] * w, 2 * self.depth * w * w, w * outputs
        biases = w + 2 * self.depth * w + outputs
        forward = 2 * (first + blocks + last)
        return Count(first + blocks + last + biases, 0, last + outputs, forward, 3 * forward - 2 * first)

    def _module(self, shape, classes, folder):
        blocks = nn.Sequential(*(Block(self.width) for _ in range(self.depth)))
        ends = {"first": nn.Linear(shape[0], self.width), "blocks": blocks, "last": nn.Linear(self.width, classes)}
        return nn.Sequential(OrderedDict(ends))
'''
USE = """
import json, sys
from pathlib import Path

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.lab.flops import count, measured
from landsweep.sweeps.lab.models import OwnNet, check_fit
from landsweep.sweeps.lab.models.resize import resized
from landsweep.sweeps.lab.training import Ended, train_pack
from landsweep.sweeps.lab.parametrization import anatomy
from landsweep.sweeps.lab.recipe import Recipe

def refusal(act):
    try:
        act()
    except SpecError as e:
        return str(e)

data = {"source": "teacher_student", "features": 6, "outputs": 3, "task": "classification", "train": 64, "test": 16}
scheme = {"scheme": "completep", "base_width": 4, "base_depth": 1}
fields = {"data": data, "net": {"net": "tower"}, "parametrization": scheme, "steps": 3, "optimizer": {"method": "adam"}}
recipe = parse(Recipe, fields, "recipe")
net, loaded = recipe.net, recipe.data.load(Path())
check_fit(net, loaded)
own = OwnNet(net="own", build="nowhere:at_all")
print(json.dumps({
    "resized": resized(net, width=16, depth=5).model_dump(mode="json", exclude={"init"}),
    "counted": count(net, (6,), 3) == measured(net, (6,), 3),
    "roles": {p.name: [p.role, p.in_block, p.ends_branch] for p in anatomy(net, (6,), 3)},
    "factors": recipe.factors((6,), 3),
    "fit": refusal(lambda: check_fit(net, Digits(source="digits").load(Path()))),
    "width": refusal(lambda: resized(own, width=2)),
    "ended": [e.status for e in train_pack([recipe], loaded) if isinstance(e, Ended)],
}))
"""
TRANSFER = """
kind: transfer
name: towers
recipe:
  data: {source: teacher_student, features: 6, outputs: 3, task: classification, train: 64, test: 16}
  net: {net: tower}
  optimizer: {method: adam}
  steps: 2
  evaluate: {splits: [train]}
  checkpoints: {last: false}
recipes: {mup: {parametrization: {scheme: mup, base_width: 4}}}
values: [4, 8]
rates: {log2: [-8, -6, 3]}
seeds: [0]
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has one network more."""
    folder = tmp_path_factory.mktemp("copy")
    models = copy_package(folder) / "lab/models"
    (models / "tower.py").write_text(FILE)
    catalogue = models / "catalogue.py"
    text = catalogue.read_text()
    assert text.count("NetSpec = Annotated[\n    Mlp |") == 1
    line = "from landsweep.sweeps.lab.models.tower import Tower\n\nNetSpec = Annotated[\n    Tower | Mlp |"
    catalogue.write_text(text.replace("NetSpec = Annotated[\n    Mlp |", line))
    (folder / "towers.yaml").write_text(TRANSFER)
    return folder


def test_it_is_resized_counted_parametrised_fitted_and_trained(copy: Path) -> None:
    said: dict[str, Any] = json.loads(run_python(copy, "-c", USE))
    assert said["resized"] == {"net": "tower", "width": 16, "depth": 5}
    assert said["counted"]
    assert said["roles"]["first.weight"] == ["input", False, False]
    assert said["roles"]["blocks.1.up.weight"] == ["hidden", True, False]
    assert said["roles"]["blocks.1.down.bias"] == ["bias", True, True]
    assert said["roles"]["last.weight"] == ["output", False, False]
    # Twice as wide and as deep as the base: branches count half, and Adam's rate for hidden layers is halved.
    assert said["factors"]["blocks.0.down.weight"]["learning_rate"] == 0.5 * 0.5
    assert said["factors"]["blocks.0.up.weight"]["learning_rate"] == 0.5
    assert said["fit"].endswith(
        "networks for images: mlp, cnn, cnn_s, cnn_l, small_cnn, resnet, resnet18, fixup_resnet, vit, dit, own"
    )
    assert "use tower, mlp, cnn, small_cnn, resnet, resnet18, vit, dit or gpt" in said["width"]
    assert said["ended"] == ["ok"]


def test_it_runs_in_a_sweep(copy: Path) -> None:
    run_python(copy, *LANDSWEEP, "run", "towers.yaml", "--site", "local", "site.tracking=off")
    assert "6/6 units (6 ok)" in run_python(copy, *LANDSWEEP, "status", "results/towers")


def test_a_network_that_says_nothing_of_itself_has_one_size_and_is_counted_by_a_dry_run() -> None:
    class Wider(Mlp):
        """A subclass computes something else than the formula of its base."""

    net = Wider(net="mlp", hidden=(4,))
    assert closed_form(net, (3,), 2) is None and count(net, (3,), 2) == measured(net, (3,), 2)
    plain = Net()
    assert (plain.current_width(), plain.current_depth(), plain.attention_heads()) == (None, None, None)
    assert (plain.residual_blocks(4), plain.branch_ends(), plain.queries()) == (None, frozenset(), frozenset())
    check_fit(net, Digits(source="digits").load(Path()))


@pytest.mark.parametrize("net", networks(), ids=lambda n: n.__name__)
def test_every_network_is_in_the_messages_that_it_belongs_to(net: type[Net]) -> None:
    """What a class says that it has, its networks have; those that lack it are pointed to it."""
    own = OwnNet(net="own", build="nowhere:at_all")
    for name in net.families():
        spec = net.model_validate({"net": name, "build": "nowhere:at_all"} if net is OwnNet else {"net": name})
        assert spec.family == name
        for size, value in (("width", spec.current_width()), ("depth", spec.current_depth())):
            assert (value is not None) == (size in net.sizes)
            assert (name in lacking(own, "width" if size == "width" else "depth").replace(",", "").split()) == (
                size in net.sizes or name == "own"
            )
        if (width := spec.current_width()) is not None:
            assert resized(spec, width=2 * width).current_width() == 2 * width
        if (depth := spec.current_depth()) is not None:
            assert resized(spec, depth=depth + 6).current_depth() == depth + 6
        if (heads := spec.attention_heads()) is not None:
            assert resized(spec, heads=2 * heads).attention_heads() == 2 * heads
    assert set(net.families()) <= set(families(lambda n: n is net))


def test_what_has_no_width_is_refused_by_a_scheme_with_the_names_of_those_that_have() -> None:
    scheme = Mup(scheme="mup", base_width=4)
    assert "use mlp, cnn, small_cnn, resnet, resnet18, vit, dit or gpt" in str(
        scheme.check(OwnNet(net="own", build="a:b"))
    )
