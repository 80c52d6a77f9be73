"""What a study will cost, before it runs: single steps of its smaller sizes are timed, the rest follows from FLOPs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from orchestrator.kind import Costs, Workbench
from orchestrator.report.parts import Table
from orchestrator.unit import Unit
from sweeps.lab.packs import train_pack
from sweeps.lab.scaling.branches import Horizons
from sweeps.lab.scaling.ladder import Ladder, Size
from sweeps.lab.scaling.plan import Planned, cells, horizons_of
from sweeps.lab.scaling.recipes import StudyRecipes

__all__ = ["study_costs"]

_SECONDS = 3.0  # that a calibration may take, but for the step that it is in
_STEPS = 3  # timed of each size, after one that warms up
_STEP_FLOPS = 1e9  # of a step that is timed: larger batches are timed in part
_SAMPLE_FLOPS = 1e10  # networks that need more for one sample are not timed
_PARAMETERS = 20_000_000  # nor such as are only slow to build
_TRIAL = 300  # steps of the random-feature model, which are short
_SHOWN = 40


def study_costs(plan: Planned, left: Sequence[Unit], bench: Workbench) -> Costs:
    """Seconds and FLOPs of each size and horizon of which runs are left; of a branch, of its cool-down.

    Args:
        plan: the spec.
        left: units that have no rows yet.
        bench: the machine that plans.
    """
    ladder = Ladder(plan)
    horizons = horizons_of(plan, cells(plan, ladder))
    sizes = sorted({int(u.params["width"] or 0) for u in left})
    seconds, note = _step_seconds(plan, [ladder.size(w) for w in sizes], bench)
    lines, total, flops, whole = [], 0.0, 0.0, 0.0
    for cell in _cells(left, horizons):
        size, steps, own = ladder.size(cell["width"]), cell["steps"], cell["steps"] - (cell["at"] or 0)
        one = None if seconds is None else own * seconds[size.width]
        total += 0.0 if one is None else one * cell["runs"]
        flops += float(own) * size.step_flops * cell["runs"]
        whole += float(steps) * size.step_flops * cell["runs"]
        told = "?" if one is None else f"{one:.3g}"
        lines.append(
            [_budget(cell), size.width, size.depth or "-", size.parameters, float(steps * size.step_tokens), steps,
             f"{steps * size.step_flops:.3g}", cell["runs"], told, "-" if cell["at"] is None else cell["at"]]
        )  # fmt: skip
    if len(lines) > _SHOWN:
        rest = sum(int(line[7]) for line in lines[_SHOWN:])
        lines = [*lines[:_SHOWN], ["... and smaller", "-", "-", "-", "-", "-", "-", rest, "-", "-"]]
    header = ["budget", "width", "depth", "parameters", "tokens", "steps", "FLOPs", "runs", "s per run", "branches at"]
    caption = f"cost of {len(left):,} runs that are planned so far: {flops:.3g} FLOPs in all"
    if horizons.schedule is None:
        header, lines = header[:-1], [line[:-1] for line in lines]
    elif whole:
        caption += f"; {whole:.3g} without branches: {1 - flops / whole:.0%} are saved"
    return Costs(Table(caption, header, lines), None if seconds is None else total, note)


def _cells(units: Sequence[Unit], horizons: Horizons) -> list[dict[str, Any]]:
    names = ("role", "budget", "width", "steps")
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for unit in units:
        mark = tuple(unit.params[n] for n in names)
        told = {**dict(zip(names, mark, strict=True)), "at": horizons.leave(unit.params), "runs": 0}
        found.setdefault(mark, told)["runs"] += 1
    return sorted(found.values(), key=lambda c: (-(c["budget"] or 0.0), c["width"]))


def _budget(cell: Mapping[str, Any]) -> str:
    return f"{cell['budget']:.3g}" if cell["budget"] is not None else str(cell["role"])


def _step_seconds(plan: Planned, sizes: Sequence[Size], bench: Workbench) -> tuple[dict[int, float] | None, str]:
    """Width to seconds of one step, and how that was found out."""
    if bench.device.startswith("cuda") and not torch.cuda.is_available():
        return None, "the site's workers have a GPU and this machine has none; plan on such a machine to see times"
    torch.set_num_threads(bench.threads)
    found = dict[int, float]()
    time_step = _timer(plan, bench)
    began = first = time.monotonic()
    for size in sorted(sizes, key=lambda s: s.step_flops):
        if _too_large(plan, size) or (found and time.monotonic() - first > _SECONDS):
            break
        found[size.width] = time_step(size)
        first = first if len(found) > 1 else time.monotonic()  # the first one also pays for what torch loads late
    if not found:
        return None, "every size is too large to be timed in a few seconds"
    largest = max((s for s in sizes if s.width in found), key=lambda s: s.step_flops)
    rate = largest.step_flops / found[largest.width]
    note = f"{len(found)} of {len(sizes)} sizes timed in {time.monotonic() - began:.1f} s on {bench.device}, alone, "
    note += "without evaluations and packs"
    if len(found) < len(sizes):
        note += f"; larger ones at the {rate:.3g} FLOP/s of width {largest.width}"
    return {s.width: found.get(s.width, s.step_flops / rate) for s in sizes}, note


def _too_large(plan: Planned, size: Size) -> bool:
    batch = 1 if plan.recipe is None else plan.recipe.batch_size
    return size.parameters > _PARAMETERS or size.step_flops / batch > _SAMPLE_FLOPS


def _timer(plan: Planned, bench: Workbench) -> Callable[[Size], float]:
    """Gives seconds of one step of a size."""
    if plan.recipe is None:
        return lambda size: _risk_seconds(plan, size)
    recipes, whole = StudyRecipes(plan, "loop"), plan.recipe.batch_size
    data = plan.recipe.data.stand_in(whole, bench.folder).to(bench.device)

    def time_step(size: Size) -> float:
        params = {"width": size.width, "steps": 1 + _STEPS, "learning_rate": plan.base_rate, "seed": 0}
        recipe = recipes.whole(params)
        rows = min(whole, max(1, round(whole * _STEP_FLOPS / size.step_flops)))
        recipe = recipe.model_copy(update={"batch_size": rows})
        training = train_pack([recipe], data, device=bench.device, backend="loop", base=bench.folder)
        training.time_step()
        return min(training.time_step() for _ in range(_STEPS)) * whole / rows

    return time_step


def _risk_seconds(plan: Planned, size: Size) -> float:
    assert plan.features is not None, "a study has a recipe or features"
    model = plan.features.model(size.width, 0)
    began = time.perf_counter()
    model.curve(_TRIAL, 0.1 * model.largest_rate, plan.features.batch)
    return (time.perf_counter() - began) / _TRIAL
