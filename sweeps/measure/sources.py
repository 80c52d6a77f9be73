"""What units are computed from, on one worker: stored models and samples, loaded when they are first needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.checkpoints.state_dict import load_into
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.trained_models.pinned import content, weights_digest
from landsweep.sweeps.lab.trained_models.reader import Zoo
from landsweep.sweeps.lab.trained_models.refs import FileRef, zoo_of
from landsweep.sweeps.lab.weight_space.evaluators import chosen_samples, loss_named
from landsweep.sweeps.measure.plan import PlannedUnit
from landsweep.sweeps.measure.spec import MeasureSweepSpec
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject
from landsweep.sweeps.measure.subjects import Chosen

__all__ = ["Sources"]

_MODELS, _DATA = 256, 4  # that are kept: bounds memory, however many models there are

T = TypeVar("T")


class Sources:
    """Gives the subject of a unit.

    Args:
        spec: pinned.
        bench: device, threads and folder of this worker.

    Raises:
        UsageError: a sweep that `of` names is not there.
    """

    def __init__(self, spec: MeasureSweepSpec, bench: Workbench) -> None:
        self._spec, self._bench = spec, bench
        self._zoos: dict[int, Zoo] = {}
        self._models: OrderedDict[str, StoredModel] = OrderedDict()
        self._data: OrderedDict[str, Data] = OrderedDict()
        self._samples: OrderedDict[str, tuple[Mapping[str, Samples], tuple[Tensor, ...]]] = OrderedDict()

    def zoo(self, ref: int) -> Zoo:
        """The sweep that a ref names; not for networks from files."""
        if ref not in self._zoos:
            source = self._spec.of[ref]
            assert not isinstance(source, FileRef)
            try:
                self._zoos[ref] = zoo_of(source, self._bench.folder)
            except UsageError as e:
                raise type(e)(f"of.{ref}.sweep: {source.sweep}: {e}") from e
        return self._zoos[ref]

    def subject(self, planned: PlannedUnit) -> Subject:
        """The models of a unit and the samples that its measure uses.

        Raises:
            UsageError: a model is gone, or has other weights than when the sweep began.
        """
        models = tuple(self.model(chosen) for chosen in planned.choice.models)
        samples, batches = self._samples_for(planned.choice.models[0], models[0])
        names = self._spec.measures[planned.measure].evaluators()
        return Subject(models, {name: samples[name] for name in names}, batches, planned.seed)

    def model(self, chosen: Chosen) -> StoredModel:
        """One stored model; its weights are compared with those that were pinned."""
        pinned = chosen.pinned
        name = f"{pinned.key} at {pinned.label}"
        return _kept(self._models, name, _MODELS, lambda: self._read(chosen))

    def _read(self, chosen: Chosen) -> StoredModel:
        pinned, ref = chosen.pinned, self._spec.of[chosen.ref]
        device = self._bench.device
        if isinstance(ref, FileRef):
            module = self._from_file(ref)
            state = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}

            def build() -> nn.Module:
                built = self._network(ref).to(number_type(module))
                built.load_state_dict(state)
                return built.to(device).eval()

            row = {"key": pinned.key, **chosen.params}
            return StoredModel(pinned.key, pinned.label, pinned.step, row, state, build)
        member = self.zoo(chosen.ref)[pinned.key]
        state = member.state(pinned.label)
        if (now := weights_digest(state)) != pinned.weights:
            raise SpecError(
                f"of.{chosen.ref}: {ref.sweep}: {pinned.key} at {pinned.label} has changed since this sweep began: "
                f"its weights had the checksum {pinned.weights}, now {now}. Put the old weights back, or give this "
                "sweep another name to start anew"
            )

        def build_stored() -> nn.Module:
            return member.files.module(member.row, state).to(device)

        return StoredModel(pinned.key, pinned.label, pinned.step, member.row, state, build_stored)

    def _network(self, ref: FileRef) -> nn.Module:
        spec, bench = self._spec.data, self._bench
        if spec is None:
            raise SpecError(f"data: missing; {ref.name} is a network without a recipe")
        data = _kept(self._data, content(spec), _DATA, lambda: spec.load(bench.folder).to(bench.device))
        return ref.net.build(data.shape, data.outputs, ref.seed, bench.folder)

    def _from_file(self, ref: FileRef) -> nn.Module:
        module = self._network(ref)
        if ref.checkpoint is not None:
            state = ref.checkpoint.load(self._bench.folder)
            for dtype in {t.dtype for t in state.values() if t.is_floating_point()}:
                module.to(dtype)
            load_into(module, state, f"of: {ref.name}: checkpoint: {ref.checkpoint.file}")
        return module

    def _samples_for(self, chosen: Chosen, model: StoredModel) -> tuple[Mapping[str, Samples], tuple[Tensor, ...]]:
        """Samples of all evaluators for a model, and its training batches."""
        load, name, split = self._data_of(chosen)
        dtype = next((t.dtype for t in model.state.values() if t.is_floating_point()), torch.float32)
        key = canonical([name, split, str(dtype)])
        return _kept(
            self._samples, key, _DATA, lambda: self._gathered(_kept(self._data, name, _DATA, load), split, dtype)
        )

    def _data_of(self, chosen: Chosen) -> tuple[Callable[[], Data], str, str]:
        """What loads the data on which a model is measured, its identity, and the split that counts as training."""
        spec, bench = self._spec.data, self._bench
        if spec is not None:
            return (lambda: spec.load(bench.folder).to(bench.device)), content(spec), "train"
        zoo = self.zoo(chosen.ref)
        recipe = zoo[chosen.pinned.key].recipe()
        zoo.models.refuse_files(recipe)

        def load() -> Data:
            with zoo.reading():  # the data may be a function of its author's
                return recipe.data.load(Path(str(zoo.head.get("folder", ".")))).to(bench.device)

        return load, content(recipe.data), recipe.split

    def _gathered(self, data: Data, split: str, dtype: torch.dtype) -> tuple[Mapping[str, Samples], tuple[Tensor, ...]]:
        bench, samples = self._bench, {}
        used = {name for measure in self._spec.measures.values() for name in measure.evaluators()}
        for name, evaluator in self._spec.evaluators.items():
            if name not in used:
                continue
            source = data if evaluator.data is None else evaluator.data.load(bench.folder).to(bench.device)
            positions = chosen_samples(name, evaluator, source)
            part = source.splits[evaluator.split]
            part = Split(part.inputs[positions], part.targets[positions]).cast(dtype)
            loss = loss_named(evaluator.loss, bench.folder)
            samples[name] = Samples(name, part.inputs, part.targets, loss, self._spec.batch_size)
        if split not in data.splits:
            return samples, ()
        size, most = self._spec.batch_size, self._spec.reestimate_batches
        inputs = data.splits[split].head(size * most).inputs
        return samples, torch.split(inputs.to(dtype) if inputs.is_floating_point() else inputs, size)


def _kept(cache: OrderedDict[str, T], name: str, most: int, make: Callable[[], T]) -> T:
    if name not in cache:
        cache[name] = make()
        if len(cache) > most:
            cache.popitem(last=False)
    cache.move_to_end(name)
    return cache[name]
