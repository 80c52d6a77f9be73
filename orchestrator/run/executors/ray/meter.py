"""Processor time of workers, measured by a process beside them.

A worker that is stopped, or whose unit holds the interpreter, could not answer for itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import ray
from ray import exceptions as failures
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from landsweep.orchestrator.run.executors.idleness import Question
from landsweep.orchestrator.run.executors.processes import ProcessId, Unseen, processor_seconds

__all__ = ["Meter"]


class Meter:
    """Asks each node once for all its workers."""

    def __init__(self) -> None:
        self._measure = ray.remote(processor_seconds)
        self._asked: dict[Any, list[Question]] = {}

    def ask(self, questions: Iterable[tuple[Question, str, ProcessId]]) -> None:
        """Ask on; each question comes with the worker's node and process."""
        nodes = defaultdict(list)
        for question, node, process in questions:
            nodes[node].append((question, process))
        for node, asked in nodes.items():
            on_node = NodeAffinitySchedulingStrategy(node, soft=False)
            measure = self._measure.options(num_cpus=0, max_retries=0, scheduling_strategy=on_node)
            self._asked[measure.remote([process for _, process in asked])] = [question for question, _ in asked]

    def answers(self) -> list[tuple[Question, float | Unseen]]:
        """Those that have come since the last call, as of `processor_seconds`."""
        if not self._asked:
            return []
        ready, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        answers: list[tuple[Question, float | Unseen]] = []
        for ref in ready:
            questions = self._asked.pop(ref)
            try:
                answers += zip(questions, ray.get(ref), strict=True)
            except failures.RayError:
                answers += [(question, Unseen.ELSEWHERE) for question in questions]
        return answers
