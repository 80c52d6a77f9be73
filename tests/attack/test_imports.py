"""Names of code in a results folder are data: nothing of them is imported or called until its user says so."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from landsweep import Zoo
from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.errors import SpecError, Untrusted
from landsweep.orchestrator.notes import is_own
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.trust import foreign_code, named_code, reading
from landsweep.sweeps.zoo.audit import reevaluate, regenerate
from tests.attack.folders import FUNCTION, ZOO, command, landsweep, mine, ran, rewritten, stranger

pytestmark = pytest.mark.rotating

FAILING = {**FUNCTION, "function": "failing:f"}
EVIL = "evilmod:f"
PLACES: dict[str, dict[str, Any]] = {  # every place of a zoo's spec that can name code
    "net": {"spec__recipe__net": {"net": "own", "build": EVIL}},
    "data": {"spec__recipe__data": {"source": "callable", "path": EVIL}},
    "optimizer": {"spec__recipe__optimizer": {"method": "class", "name": EVIL, "learning_rate": 0.1}},
    "net by an axis": {"spec__axes": {"net": [{"net": "own", "build": EVIL}]}},
    "re-export": {"spec__recipe__net": {"net": "own", "build": "landsweep.sweeps.function.examples:np.save"}},
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("zoo"), ZOO)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "failing.py").write_text("def f(x, y):\n    raise ValueError(x)\n")
    return ran(folder, FAILING)


def trap(results: Path) -> Path:
    """A module `evilmod` inside the folder and beside it; gives the file that its import leaves."""
    trace = results / "it-has-run"
    for place in (results, results.parent):
        mine(place, "evilmod", trace)
    return trace


def reached(trace: Path) -> bool:
    return trace.exists() or Path(f"{trace}-called").exists()


@pytest.mark.parametrize("place", [p for p in PLACES if p != "re-export"])
def test_a_zoo_of_a_stranger_imports_nothing(zoo: Path, tmp_path: Path, place: str) -> None:
    copy = stranger(zoo, f"zoo-{place}".replace(" ", "-"), folder=".", **PLACES[place])
    trace = trap(copy)
    key = Zoo(copy).keys[0]
    words = [
        ("regenerate", copy, key, "--backend", "loop"),
        ("verify", copy, "--reevaluate", "2"),
        ("report", copy),
        ("status", copy),
    ]
    for line in words:
        done = command(*line, cwd=copy)
        assert not reached(trace), line
        assert "Traceback" not in done.stderr, done.stderr
        if line[0] == "regenerate":
            assert done.returncode == 2, (done.stdout, done.stderr)
    if place in ("net", "data"):
        assert EVIL in command("regenerate", copy, key, cwd=copy).stderr, "the message names the module"


@pytest.mark.parametrize("place", ["net", "re-export"])
def test_the_reader_of_zoos_imports_nothing(zoo: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = stranger(zoo, f"reader-{place}", folder=".", **PLACES[place])
    trace = trap(copy)
    monkeypatch.chdir(copy)
    monkeypatch.syspath_prepend(str(copy))  # even where it could be found
    read = Zoo(copy)
    name = EVIL if place == "net" else "np.save"
    for attempt in (read[0].module, lambda: regenerate(read[0]), read.vectors):
        with pytest.raises(Untrusted, match=name):
            attempt()
    with pytest.raises(Untrusted):
        rows = read.rows
        from landsweep.orchestrator.kind import Workbench
        from landsweep.orchestrator.storage.artifacts import Artifacts

        reevaluate(read, rows, Workbench(artifacts=Artifacts(str(copy))), 1)
    assert not reached(trace)
    assert read[0].state(), "weights are data: they can be read"


def test_a_trusted_zoo_runs_its_code(zoo: Path, tmp_path: Path) -> None:
    copy = stranger(zoo, "trusted", folder=".", **PLACES["net"])
    trace = copy / "it-has-run"
    mine(copy, "trusted_net", trace)
    stranger(copy, "", keep=True, spec__recipe__net={"net": "own", "build": "trusted_net:f"}, folder=str(copy))
    with pytest.raises(SpecError, match=r"torch\.nn\.Module"):  # it was called, and gave a mapping
        Zoo(copy, trust=True)[0].module()
    assert Path(f"{trace}-called").exists()


@pytest.mark.parametrize(
    "name", ["os:system", "landsweep.sweeps.function.examples:np.save", "builtins:exec", "subprocess:run"]
)
def test_rerun_of_a_strangers_sweep_runs_nothing(failing: Path, name: str) -> None:
    copy = stranger(failing, f"rerun-{name.replace(':', '-')}", spec__function=name)
    done = command("rerun", copy, "site.executor=local", cwd=copy.parent)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert name in done.stderr and "--trust" in done.stderr
    assert not (copy / "retired").exists(), "no row is touched"


def test_own_sweeps_need_no_word_of_trust_and_moved_ones_do(tmp_path: Path) -> None:
    (tmp_path / "failing_too.py").write_text("def f(x, y):\n    raise ValueError(x)\n")
    own = ran(tmp_path, {**FAILING, "function": "failing_too:f"})
    assert command("rerun", own, "site.executor=local", "site.tracking=false", cwd=tmp_path).returncode == 1
    moved = own.parent / "moved"
    own.rename(moved)
    refused = command("rerun", moved, "site.executor=local", cwd=tmp_path)
    assert refused.returncode == 2 and "failing_too:f" in refused.stderr
    trusted = command("rerun", moved, "--trust", "site.executor=local", "site.tracking=false", cwd=tmp_path)
    assert trusted.returncode == 1, trusted.stderr
    assert "2 failed" not in refused.stderr


def test_a_changed_sweep_in_an_own_place_is_not_own(failing: Path) -> None:
    head = json.loads((failing / "sweep.json").read_text())
    assert is_own(failing, head)
    assert not is_own(failing, {**head, "folder": "/elsewhere"})
    assert not is_own(failing, {**head, "spec": {**head["spec"], "fixed": {"z": 1}}})
    assert not is_own(failing.parent, head)


@pytest.mark.parametrize("change", ["link", "open"])
def test_notes_in_a_folder_that_others_may_write_do_not_count(
    failing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, state_home: Path
) -> None:
    head = json.loads((failing / "sweep.json").read_text())
    shutil.copytree(state_home / "landsweep", tmp_path / "copy")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    if change == "link":
        (tmp_path / "home/landsweep").symlink_to(tmp_path / "copy")
    else:
        (tmp_path / "copy").rename(tmp_path / "home/landsweep")
        (tmp_path / "home/landsweep").chmod(0o777)
    assert not is_own(failing, head)


@pytest.mark.parametrize("seed", range(20))
def test_names_of_code_are_found_at_any_depth(seed: int) -> None:
    draw = random.Random(seed)
    value: Any = "evil.mod:f"
    for _ in range(draw.randint(0, 30)):
        value = draw.choice([lambda v: {"a": v}, lambda v: [1, v], lambda v: {v if isinstance(v, str) else "b": v}])(
            value
        )
    assert named_code(value) == ["evil.mod:f"] == foreign_code(value)


def test_what_is_let_in_and_what_is_not() -> None:
    with reading("results/of-a-stranger"):
        assert callable(import_callable("landsweep.sweeps.function.examples:no_op"))
        assert callable(import_callable("torch.optim:Adagrad"))
        refused = (
            "os:system", "torch.optim:lr_scheduler", "torch:load", "landsweep.orchestrator.storage.store:Store.at",
            "landsweep.cluster.launchers.tool:Tool", "landsweep.sweeps.zoo.export:export_zoo",
            *(f"landsweep.sweeps.function.examples:{name}" for name in ("np", "partial", "Path.unlink")),
        )  # fmt: skip
        for name in refused:
            with pytest.raises(Untrusted, match=name):
                import_callable(name)
    for name in ("os", "os:", ":system", "os:system()", "a b:c", "os:sys tem", "../x:f", "s3://bucket/x"):
        assert not named_code(name)
        with pytest.raises(SpecError, match=r"package\.module:function"):
            import_callable(name)


SHADOWS = ("pandas", "numpy", "yaml", "pyarrow", "random", "typer", "rich", "torch", "ray", "json", "cluster", "sweeps")


@pytest.mark.slow
def test_modules_beside_the_user_replace_nothing(zoo: Path, tmp_path: Path) -> None:
    """`cd DIR; landsweep status .` with a yaml.py there; also where user code is meant to run."""
    copy = stranger(zoo, "shadows")
    spec = zoo.parent.parent / "spec.yaml"
    for name in (*SHADOWS, "orchestrator"):
        (copy / f"{name}.py").write_text(f"open({str(copy)!r} + '/it-has-run', 'a').write({name!r})\n")
    commands: list[tuple[str | Path, ...]] = [
        ("status", "."), ("verify", "."), ("report", "."), ("zoo-card", "."), ("jobs", "."), ("kinds",),
        ("zoo-export", ".", "--to", tmp_path / "export"), ("plan", spec), ("regenerate", ".", Zoo(copy).keys[0]),
        ("run", spec, "--out", tmp_path / "again", "site.executor=local", "site.tracking=false"),
    ]  # fmt: skip
    for line in commands:
        done = landsweep(*line, cwd=copy)
        assert done.returncode == 0, (line, done.stderr)
        assert not (copy / "it-has-run").exists(), (line, (copy / "it-has-run").read_text())


def shadowed(folder: Path, package: bool) -> Path:
    """A spec beside a `cluster.py`, `sweeps/` or `orchestrator/` of the user's and a `random.py`."""
    for name in ("cluster", "sweeps", "orchestrator", "random", "numpy"):
        file = folder / (f"{name}/__init__.py" if package else f"{name}.py")
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise SystemExit('the wrong module')\n")
    (folder / "beside.py").write_text("import random\ndef f(x, y):\n    return {'r': random.Random(1).random()}\n")
    (folder / "spec.yaml").write_text(yaml.safe_dump({**FUNCTION, "function": "beside:f"}))
    return folder / "results" / "small"


def test_settings_of_matplotlib_beside_the_user_do_not_count(zoo: Path, tmp_path: Path) -> None:
    """Figures are the same, and no TeX is run: its words could read files of the user's into a figure."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("latex", "kpsewhich", "dvipng"):
        (tools / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        (tools / name).chmod(0o755)
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    shutil.copytree(zoo, tmp_path / "theirs")
    figures = []
    tex = "text.usetex: True\ntext.latex.preamble: \\input{/etc/hosts}\n"
    for settings in ("", "figure.facecolor: red\nlines.linewidth: 9\n", tex, "\xff\x00 : :"):
        (tmp_path / "theirs/matplotlibrc").write_bytes(settings.encode("latin-1"))
        done = landsweep("report", ".", cwd=tmp_path / "theirs", env=env)
        assert done.returncode == 0, done.stderr
        figures.append({p.name: p.read_bytes() for p in (tmp_path / "theirs/report/figures").iterdir()})
    assert figures[0] and all(one == figures[0] for one in figures) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("package", [True, False])
def test_a_spec_runs_beside_packages_of_our_names(tmp_path: Path, package: bool) -> None:
    results = shadowed(tmp_path, package)
    done = landsweep("run", "spec.yaml", "site.executor=local", "site.tracking=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Sweep.at(results).rows()["r"].tolist() == [random.Random(1).random()] * 4


@pytest.mark.ray
@pytest.mark.slow
def test_workers_of_ray_import_our_packages_and_not_the_users(tmp_path: Path) -> None:
    results = shadowed(tmp_path, package=True)
    done = landsweep("run", "spec.yaml", "site.workers=1", "site.tracking=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Sweep.at(results).rows()["r"].tolist() == [random.Random(1).random()] * 4


def test_two_modules_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twice_there.py").write_text(f"def f():\n    return {folder!r}\n")
    assert import_callable("twice_there:f", tmp_path / "a")() == "a"
    with pytest.raises(SpecError, match="two modules 'twice_there'"):
        import_callable("twice_there:f", tmp_path / "b")
    (tmp_path / "a" / "random.py").write_text("def f(): ...\n")
    with pytest.raises(SpecError, match="two modules 'random'"):
        import_callable("random:f", tmp_path / "a")
    assert np.random is sys.modules["numpy.random"]


def test_rows_of_a_stranger_name_no_code(zoo: Path) -> None:
    """The spec is harmless; a row's settings name a network."""
    copy = stranger(zoo, "rows", spec__axes={"net": [{"net": "mlp", "hidden": [4]}]}, folder=".")
    trace = trap(copy)
    for part in (copy / "rows").glob("*.parquet"):
        net = json.dumps({"net": "own", "build": EVIL})
        rewritten(part, lambda rows: rows.append_column("net", [[net] * len(rows)]))  # noqa: B023 - called at once
    done = command("regenerate", copy, Zoo(copy).keys[0], cwd=copy)
    assert done.returncode != 0 and not reached(trace)
