"""What a study will cost, before it runs: single steps of its smaller sizes are timed, the rest follows from FLOPs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from orchestrator.kind import Costs, Workbench
from orchestrator.planner import Planner
from orchestrator.report.parts import Table
from orchestrator.unit import Unit
from sweeps.lab.packs import train_pack
from sweeps.lab.recipe import Recipe
from sweeps.lab.scaling.ladder import Ladder, Size
from sweeps.lab.scaling.plan import Planned
from sweeps.lab.scaling.recipes import StudyRecipes

__all__ = ["study_costs"]

_SECONDS = 3.0  # that a calibration may take, but for the step that it is in
_STEPS = 3  # timed of each size, after one that warms up
_LARGEST = 50_000_000  # parameters: larger networks are not built just to be timed
_TRIAL = 300  # steps of the random-feature model, which are short
_ASKED = 100_000
_SHOWN = 40


def study_costs(plan: Planned, planner: Planner, done: Collection[str], bench: Workbench) -> Costs:
    """Seconds and FLOPs of each size and horizon of which runs are left.

    Args:
        plan: the spec.
        planner: of the spec, fresh.
        done: keys of units that have rows.
        bench: the machine that plans.
    """
    ladder = Ladder(plan)
    left = [u for u in planner.ask(_ASKED) if u.key not in done]
    sizes = sorted({int(u.params["width"] or 0) for u in left})
    seconds, note = _step_seconds(plan, [ladder.size(w) for w in sizes], bench)
    lines, total, flops = [], 0.0, 0.0
    for cell in _cells(left):
        size, steps = ladder.size(int(cell["width"])), int(cell["steps"])
        one = None if seconds is None else steps * seconds[size.width]
        total += 0.0 if one is None else one * cell["runs"]
        flops += float(steps) * size.step_flops * cell["runs"]
        told = "?" if one is None else f"{one:.3g}"
        lines.append(
            [_budget(cell), size.width, size.depth or "-", size.parameters, float(steps * size.step_tokens), steps,
             f"{steps * size.step_flops:.3g}", cell["runs"], told]
        )  # fmt: skip
    if len(lines) > _SHOWN:
        rest = sum(int(line[7]) for line in lines[_SHOWN:])
        lines = [*lines[:_SHOWN], ["... and smaller", "-", "-", "-", "-", "-", "-", rest, "-"]]
    header = ("budget", "width", "depth", "parameters", "tokens", "steps", "FLOPs", "runs", "s per run")
    caption = f"cost of {len(left):,} runs that are planned so far: {flops:.3g} FLOPs in all"
    return Costs(Table(caption, header, lines), None if seconds is None else total, note)


def _cells(units: Sequence[Unit]) -> list[dict[str, Any]]:
    names = ("role", "budget", "width", "steps")
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for unit in units:
        mark = tuple(unit.params[n] for n in names)
        found.setdefault(mark, {**dict(zip(names, mark, strict=True)), "runs": 0})["runs"] += 1
    return list(found.values())


def _budget(cell: Mapping[str, Any]) -> str:
    return f"{cell['budget']:.3g}" if cell["budget"] is not None else str(cell["role"])


def _step_seconds(plan: Planned, sizes: Sequence[Size], bench: Workbench) -> tuple[dict[int, float] | None, str]:
    """Width to seconds of one step, and how that was found out."""
    if bench.device.startswith("cuda") and not torch.cuda.is_available():
        return None, "the site's workers have a GPU and this machine has none; plan on such a machine to see times"
    torch.set_num_threads(bench.threads)
    began, found = time.monotonic(), dict[int, float]()
    for size in sorted(sizes, key=lambda s: s.step_flops):
        if size.parameters > _LARGEST or (found and time.monotonic() - began > _SECONDS):
            break
        found[size.width] = _timed(plan, size, bench)
    if not found:
        return None, f"every size has more than {_LARGEST:,} parameters, too many to time one here"
    largest = max((s for s in sizes if s.width in found), key=lambda s: s.step_flops)
    rate = largest.step_flops / found[largest.width]
    note = f"{len(found)} of {len(sizes)} sizes timed in {time.monotonic() - began:.1f} s on {bench.device}, alone, "
    note += "without evaluations and packs"
    if len(found) < len(sizes):
        note += f"; larger ones at the {rate:.3g} FLOP/s of width {largest.width}"
    return {s.width: found.get(s.width, s.step_flops / rate) for s in sizes}, note


def _timed(plan: Planned, size: Size, bench: Workbench) -> float:
    if plan.recipe is None:
        assert plan.features is not None, "a study has a recipe or features"
        risks = plan.features.spectrum(size.width, 0).risks(plan.base_rate)
        began = time.perf_counter()
        list(itertools.islice(risks, _TRIAL))
        return (time.perf_counter() - began) / _TRIAL
    params = {"width": size.width, "steps": 1 + _STEPS, "learning_rate": plan.base_rate, "seed": 0}
    recipe = StudyRecipes(plan, "loop").of(params)
    data = _little(recipe).data.load(bench.folder).to(bench.device)
    training = train_pack([recipe], data, device=bench.device, backend="loop", base=bench.folder)
    training.time_step()
    return min(training.time_step() for _ in range(_STEPS))


def _little(recipe: Recipe) -> Recipe:
    """With as much data as one batch needs, where the source makes its data."""
    if not isinstance(getattr(recipe.data, "train", None), int):
        return recipe
    data = recipe.data.model_copy(update={"train": recipe.batch_size, "test": 16})
    return recipe.model_copy(update={"data": data})
