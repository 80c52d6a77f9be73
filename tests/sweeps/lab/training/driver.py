"""A training for tests that kill: `python -m` this module and FILE starts from the state in FILE, if any.

It keeps each state there and prints the step; the weights of model I at the end go to FILE.I.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.numpy import save
from safetensors.torch import load_file, save_file

from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Checkpoint, train_pack
from tests.sweeps.lab.training.cases import digits, recipe


def long_recipes() -> list[Recipe]:
    """Models whose training takes long enough to be killed."""
    net = {"net": "mlp", "hidden": [12], "dropout": 0.2}
    return [recipe(i, net=net, steps=900, evaluate={"every_steps": 50}) for i in range(3)]


def main() -> None:
    file = Path(sys.argv[1])
    state = {name: tensor.numpy() for name, tensor in load_file(file).items()} if file.is_file() else None
    training = train_pack(long_recipes(), digits(), backend="bmm", resume=state)
    for event in training:
        if isinstance(event, Beat):
            partial = file.with_suffix(".new")
            partial.write_bytes(save(training.state()))
            partial.replace(file)
            print(training.step, flush=True)
        if isinstance(event, Checkpoint) and event.label == "last":
            save_file(dict(event.state), file.with_suffix(f".{event.index}"))


if __name__ == "__main__":
    main()
