"""Trainings on token files in processes of their own, for tests that kill them or look at their memory.

`python -m` this module, FOLDER, STATE, the number of processes and of steps: trains from STATE, if there is one, keeps
each state there and prints each evaluation, the step and the peak of its memory in KiB. With a fifth argument, a step,
it trains no further than that, and waits to be killed.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from safetensors.numpy import save
from safetensors.torch import load_file

from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Evaluated, train_pack


def stored_recipe(folder: Path, processes: int = 0, **fields: Any) -> Recipe:
    data = {"source": "token_files", "folder": str(folder), "vocabulary": 50, "context": 16, "processes": processes}
    given: dict[str, Any] = {
        "data": data,
        "net": {"net": "gpt", "width": 16, "depth": 1, "heads": 2},
        "optimizer": {"method": "adamw", "learning_rate": 0.003},
        "steps": 300,
        "batch_size": 8,
        "evaluate": {"every_steps": 20, "splits": ["test"], "first": 32},
        **fields,
    }
    return Recipe.model_validate(given)


def main() -> None:
    folder, file, (processes, steps, *last) = Path(sys.argv[1]), Path(sys.argv[2]), map(int, sys.argv[3:])
    recipes = [stored_recipe(folder, processes, seed=seed, steps=steps) for seed in (0, 1)]
    state = {name: tensor.numpy() for name, tensor in load_file(file).items()} if file.is_file() else None
    training = train_pack(recipes, recipes[0].data.load(Path()), backend="loop", resume=state)
    for event in training:
        if isinstance(event, Evaluated):
            metrics = dict(event.metrics)
            print(json.dumps({"index": event.index, "step": event.step, **metrics}), flush=True)
        if isinstance(event, Beat):
            partial = file.with_suffix(".new")
            partial.write_bytes(save(training.state()))
            partial.replace(file)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps({"made": training.step, "peak": peak}), flush=True)
            if last and training.step >= last[0]:
                signal.pause()


if __name__ == "__main__":
    main()
