"""What a study will cost, before it runs: single steps of its smaller sizes are timed, the rest follows from FLOPs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from landsweep.orchestrator.kind import Costs, Workbench
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.training.backends import Loop
from landsweep.sweeps.lab.training.calibrate import shortest_step
from landsweep.sweeps.scaling.branches import Horizons
from landsweep.sweeps.scaling.ladder import Ladder, Size
from landsweep.sweeps.scaling.plan import cells, horizons_of
from landsweep.sweeps.scaling.recipes import StudyRecipes
from landsweep.sweeps.scaling.spec import ScalingSpec

__all__ = ["study_costs"]

_SECONDS = 3.0  # that a calibration may take, but for the step that it is in
_STEPS = 3  # timed of each size, after one that warms up
_STEP_FLOPS = 1e9  # of a step that is timed: larger batches are timed in part
_SAMPLE_FLOPS = 1e10  # networks that need more for one sample are not timed
_PARAMETERS = 20_000_000  # nor such as are only slow to build
_TRIAL = 300  # steps of the random-feature model, which are short
_SHOWN = 40


def study_costs(spec: ScalingSpec, left: Sequence[Unit], bench: Workbench) -> Costs:
    """Seconds and FLOPs of each size and horizon of which runs are left; of a branch, of its cool-down.

    Args:
        spec: of the study.
        left: units that have no rows yet.
        bench: the machine that plans.
    """
    ladder = Ladder(spec)
    horizons = horizons_of(spec, cells(spec, ladder))
    sizes = sorted({int(u.params["width"] or 0) for u in left})
    seconds, note = _step_seconds(spec, [ladder.size(w) for w in sizes], bench)
    lines, total, flops, whole = [], 0.0, 0.0, 0.0
    for cell in _cells(left, horizons):
        size, steps, runs = ladder.size(cell["width"]), cell["steps"], cell["runs"]
        computed = steps - (cell["at"] or 0)  # of a branch only its cool-down
        run_seconds = None if seconds is None else computed * seconds[size.width]
        total += 0.0 if run_seconds is None else run_seconds * runs
        flops += float(computed) * size.step_flops * runs
        whole += float(steps) * size.step_flops * runs
        lines.append(
            [_budget(cell), size.width, size.depth or "-", size.parameters, float(steps * size.step_tokens), steps,
             f"{steps * size.step_flops:.3g}", runs, "?" if run_seconds is None else f"{run_seconds:.3g}",
             "-" if cell["at"] is None else cell["at"]]
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
    """Sizes and horizons of units: their params, `runs`, and `at`, the step after which they leave a main run."""
    names = ("role", "budget", "width", "steps")
    groups: dict[tuple[object, ...], dict[str, Any]] = {}
    for unit in units:
        values = tuple(unit.params[n] for n in names)
        if values not in groups:
            groups[values] = {**dict(zip(names, values, strict=True)), "at": horizons.leaves(unit.params), "runs": 0}
        groups[values]["runs"] += 1
    return sorted(groups.values(), key=lambda c: (-(c["budget"] or 0.0), c["width"]))


def _budget(cell: Mapping[str, Any]) -> str:
    return f"{cell['budget']:.3g}" if cell["budget"] is not None else str(cell["role"])


def _step_seconds(spec: ScalingSpec, sizes: Sequence[Size], bench: Workbench) -> tuple[dict[int, float] | None, str]:
    """Width to seconds of one step, and how that was found out."""
    if bench.device.startswith("cuda") and not torch.cuda.is_available():
        if bench.peak_flops is None or bench.mfu is None:
            wanted = "plan on such a machine, or give site.peak_flops and site.mfu, to see times"
            return None, f"the site's workers have a GPU and this machine has none; {wanted}"
        rate = bench.peak_flops * bench.mfu
        each = {s.width: s.step_flops / rate for s in sizes}
        return each, f"not timed: {rate:.3g} FLOP/s of each GPU, as site.peak_flops and site.mfu say"
    settle(bench)
    timed = dict[int, float]()
    time_step = _timer(spec, bench)
    began = first = time.monotonic()
    for size in sorted(sizes, key=lambda s: s.step_flops):
        if _too_large(spec, size) or (timed and time.monotonic() - first > _SECONDS):
            break
        timed[size.width] = time_step(size)
        first = first if len(timed) > 1 else time.monotonic()  # the first one also pays for what torch loads late
    if not timed:
        return None, "every size is too large to be timed in a few seconds"
    largest = max((s for s in sizes if s.width in timed), key=lambda s: s.step_flops)
    rate = largest.step_flops / timed[largest.width]
    note = f"{len(timed)} of {len(sizes)} sizes timed in {time.monotonic() - began:.1f} s on {bench.device}, alone, "
    note += "without evaluations and packs"
    if len(timed) < len(sizes):
        note += f"; larger ones at the {rate:.3g} FLOP/s of width {largest.width}"
    return {s.width: timed.get(s.width, s.step_flops / rate) for s in sizes}, note


def _too_large(spec: ScalingSpec, size: Size) -> bool:
    batch = 1 if spec.recipe is None else spec.recipe.batch_size
    return size.parameters > _PARAMETERS or size.step_flops / batch > _SAMPLE_FLOPS


def _timer(spec: ScalingSpec, bench: Workbench) -> Callable[[Size], float]:
    """Gives seconds of one step of a size."""
    if spec.recipe is None:
        return lambda size: _risk_seconds(spec, size)
    recipes, whole = StudyRecipes(spec), spec.recipe.batch_size
    data = spec.recipe.data.stand_in(whole, bench.folder).to(bench.device)

    def time_step(size: Size) -> float:
        params = {"width": size.width, "steps": 1 + _STEPS, "learning_rate": spec.base_rate, "seed": 0}
        recipe = recipes.whole(params)
        rows = min(whole, max(1, round(whole * _STEP_FLOPS / size.step_flops)))
        recipe = recipe.model_copy(update={"batch_size": rows})
        seconds = shortest_step(Loop, [recipe], data, device=bench.device, base=bench.folder, steps=_STEPS)
        return seconds * whole / rows

    return time_step


def _risk_seconds(spec: ScalingSpec, size: Size) -> float:
    assert spec.features is not None, "a study has a recipe or features"
    model = spec.features.model(size.width, 0)
    began = time.perf_counter()
    model.curve(_TRIAL, 0.1 * model.largest_rate, spec.features.batch)
    return (time.perf_counter() - began) / _TRIAL
