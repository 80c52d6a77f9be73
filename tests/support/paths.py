"""Where things lie in this repository; tests name no place relative to themselves."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
GOLDEN = TESTS / "golden"
"""Rows and results folders that earlier versions wrote."""
FOLDERS = ("orchestrator", "sweeps", "cluster", "src")
SOURCES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
SHIPPED_SPECS = ROOT / "sweeps/specs"
CLUSTER_GOLDEN = TESTS / "cluster/golden"
KUBECTL = TESTS / "cluster/kubectl.py"
RAYJOB_SCHEMA = TESTS / "cluster/rayjob_schema.yaml"
