"""Where things lie in this repository; tests name no place relative to themselves."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
GOLDEN = TESTS / "golden"
"""Rows and results folders that earlier versions wrote."""
PACKAGES = ("orchestrator", "sweeps", "cluster")
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
SHIPPED_SPECS = ROOT / "sweeps/recipes"
CLUSTER_GOLDEN = TESTS / "cluster/golden"
KUBECTL = TESTS / "cluster/kubectl.py"
RAYJOB_SCHEMA = TESTS / "cluster/rayjob_schema.yaml"
