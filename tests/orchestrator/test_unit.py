"""Keys: one text per value, and equal identity exactly for equal meaning."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landsweep.orchestrator.planner import GridPlanner, Named
from landsweep.orchestrator.unit import Keys, Unit, canonical, digest, stream_seed

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(value=values)
def test_canonical_text_is_stable_under_order_and_number_type(value: object) -> None:
    def disguised(v: object) -> object:
        if isinstance(v, dict):
            return {k: disguised(v[k]) for k in reversed(list(v))}
        if isinstance(v, list):
            return tuple(disguised(x) for x in v)
        if isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**53:
            return float(v)
        return v

    assert canonical(value) == canonical(disguised(value))


def test_pinned_identities() -> None:
    """These may never change: rows of older sweeps are found by them. Computed with coreutils' b2sum."""
    assert canonical({"b": [1.0, 2.5, 0.0], "a": True, "ü": "x"}) == '{"a":true,"b":[1,2.5,0],"ü":"x"}'
    assert digest({"lr": 0.1}) == "6807eff9e5f8c566f1fbd06e1ebf9216"
    unit = Keys("function", 1, {"function": "m:f"}).unit({"x": 1.0})
    assert unit.key == "67488e1da4c0fbe84ee3d90296b7b46f"
    assert stream_seed(Unit("k", {"seed": 3}), "init") == 7748994126232387178


def test_true_is_not_one() -> None:
    assert canonical(True) != canonical(1)


@pytest.mark.parametrize("bad", [object(), print, {1: 2}, {1, 2}, b"x"])
def test_values_without_a_stable_text_are_refused(bad: object) -> None:
    with pytest.raises(TypeError):
        canonical(bad)


def test_values_that_compare_or_print_alike_are_told_apart() -> None:
    odd = [
        0,
        False,
        "0",
        "false",
        None,
        "null",
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        "inf",
        "Infinity",
        "nan",
        [],
        {},
        "",
    ]
    assert len({canonical(v) for v in odd}) == len(odd)
    assert canonical(0.0) == canonical(0), "one number, as before"
    assert len({digest({"max_norm": v}) for v in odd}) == len(odd)


def test_keys_depend_on_kind_version_context_and_params() -> None:
    def key(kind: str = "k", version: int = 1, context: object = 1, x: float = 1) -> str:
        return Keys(kind, version, {"c": context}).unit({"x": x}).key

    keys = {key(), key(kind="l"), key(version=2), key(context=2), key(x=2)}
    assert len(keys) == 5
    assert key(x=1.0) == key(x=1)


def test_the_fast_way_of_grids_gives_the_same_keys() -> None:
    keys = Keys("k", 1, {"c": 1})
    axes = {"z": (1, 2.5), "model": Named({"a": {"width": 4}, "b": {"width": 8}}), "y": ("s", None, True)}
    for unit in GridPlanner(keys, axes).ask(100):
        definition = {"model": {"a": {"width": 4}, "b": {"width": 8}}[str(unit.params["model"])]}
        assert unit.key == keys.unit(unit.params, definition).key


def test_what_a_name_stands_for_is_part_of_the_key() -> None:
    def only(width: int) -> str:
        return GridPlanner(Keys("k", 1, {}), {"model": Named({"a": {"width": width}})}).ask(1)[0].key

    assert only(4) != only(8)


def test_streams_are_shared_by_seed_and_differ_by_name() -> None:
    keys = Keys("k", 1, {})
    a, b, c = (keys.unit({"seed": s, "lr": lr}) for s, lr in [(0, 0.1), (0, 0.2), (1, 0.1)])
    assert stream_seed(a, "init") == stream_seed(b, "init") != stream_seed(c, "init")
    assert stream_seed(a, "init") != stream_seed(a, "order")
    d, e = keys.unit({"lr": 0.1}), keys.unit({"lr": 0.2})
    assert stream_seed(d, "init") != stream_seed(e, "init"), "without a seed the whole key decides"
    assert all(0 <= stream_seed(u, "x") < 2**63 for u in (a, b, c, d, e))


def test_keys_are_the_same_in_another_process_with_another_hash_seed() -> None:
    context = "{'b': 1, 'a': {'d': 2, 'c': 3}}"
    code = (
        f"from landsweep.orchestrator.unit import Keys; print(Keys('k', 1, {context}).unit({{'x': 0.1, 'y': 's'}}).key)"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(keys) == 1
