"""Searches: Optuna as a planner, and what passes between rows and Optuna's own tools. Only this folder imports optuna.

planner = StudyPlanner(search, units)   # a planner like any other: ask, tell, report
"""

from __future__ import annotations

from landsweep.orchestrator.search.exchange import best_points, importances, write_study
from landsweep.orchestrator.search.planner import StudyPlanner
from landsweep.orchestrator.search.study import Goal, Search

__all__ = ["Goal", "Search", "StudyPlanner", "best_points", "importances", "write_study"]
