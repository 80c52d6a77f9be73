"""What docs/security.md promises: nothing runs that was only read, and a Ray of our own is nobody else's."""

from __future__ import annotations

import ast
import http.client
import json
import os
import pickle
import re
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from landsweep.orchestrator.errors import LandsweepError, SpecError
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.support.paths import ROOT, SOURCES

# where pickle may be named: to catch its errors; to read one published data format, of which only arrays are let in
PICKLE = {"sweeps/lab/checkpoints/state_dict.py", "sweeps/lab/data/cifar10.py"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("file", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_file_runs_what_it_reads(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for name, call in calls(tree):
        options = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert name not in ("eval", "exec", "compile", "__import__", "os.system"), ast.unparse(call)
        if name == "torch.load":
            assert options.get("weights_only") == "True", ast.unparse(call)
        if name in ("np.load", "numpy.load"):
            assert options.get("allow_pickle", "False") == "False", ast.unparse(call)
        if name.startswith(("yaml.load", "yaml.unsafe")):
            assert options.get("Loader") == "_Loader", ast.unparse(call)
        assert options.get("shell", "False") == "False", ast.unparse(call)
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    dangerous = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"} & modules
    assert not dangerous or file.relative_to(ROOT).as_posix() in PICKLE


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_the_tests_that_the_page_names_are_there() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 25
    for file, test in named:
        functions = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        assert any(isinstance(f, ast.FunctionDef) and f.name == test for f in functions), f"{file}::{test}"
    lines = [line for line in page.splitlines() if line.startswith("|") and line.count("|") == 6][2:]
    assert len(lines) >= 11 and all("::test_" in line for line in lines), "each line of the table is tested"


def test_what_is_read_can_not_run(tmp_path: Path) -> None:
    """A pickle in the place of every kind of file that a sweep reads back."""
    trace = tmp_path / "it-has-run"
    bomb = pickle.dumps(Bomb(trace))
    pickle.loads(bomb)
    assert trace.exists(), "the bomb works"
    trace.unlink()
    store = Store.at(tmp_path / "sweep")
    ledger = Ledger.create(store, {})
    for path in ("rows/part-000000.parquet", "prepared/base.safetensors", "weights/w.safetensors", "status.json"):
        store.replace(path, bomb)
    assert len(ledger.verify().damaged) >= 1
    assert Artifacts(str(tmp_path / "sweep")).load("weights/w.safetensors") is None
    with ledger.writing() as writer:
        assert [d.path for d in writer.set_aside] == ["rows/part-000000.parquet"]
    store.replace("sweep.json", bomb)
    with pytest.raises(LandsweepError):
        Ledger.open(store)
    assert not trace.exists()


def test_yaml_makes_plain_data_only(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(f"kind: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'it-has-run'}]\n")
    with pytest.raises(SpecError):
        read_yaml(file)
    assert not (tmp_path / "it-has-run").exists()


def test_rows_of_strangers_can_not_name_files_elsewhere(tmp_path: Path) -> None:
    """A published zoo whose rows point at a file of the reader, or make an export write over one."""
    (tmp_path / "secret.safetensors").write_bytes(save({"x": np.zeros(1)}))
    artifacts = Artifacts(str(tmp_path / "zoo"))
    for name in ("../secret.safetensors", str(tmp_path / "secret.safetensors")):
        with pytest.raises(LandsweepError, match="where do these rows come from"):
            artifacts.path(name)


OWN_RAY = """
import json, os, stat, psutil
from contextlib import suppress
from pathlib import Path
from landsweep.orchestrator.run.executors.ray import RayExecutor
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.executor_suite import config
import ray
ex = RayExecutor(Site(workers=1, cpus=0.5))
ex.open(config())
while not ex.free_workers():
    ex.poll(0.1)
me = psutil.Process()
connections = []
for process in [me, *me.children(recursive=True)]:
    with suppress(psutil.NoSuchProcess):  # one that was short-lived
        connections += process.net_connections("inet")
listening = sorted({tuple(c.laddr) for c in connections if c.status == psutil.CONN_LISTEN})
token = Path.home() / ".ray" / "auth_token"
print(json.dumps([listening, stat.S_IMODE(token.stat().st_mode), ray.get_runtime_context().gcs_address]), flush=True)
input()
ex.close()
print(json.dumps(os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")))
"""
STRANGER = """
import os, sys
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # or Ray looks for the cluster on the network, where it is not
import ray
ray.init(address=sys.argv[1], log_to_driver=False)
print("IN", ray.cluster_resources())
"""


def python(code: str, *words: str, home: Path) -> subprocess.Popen[str]:
    aside = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    env = {k: v for k, v in os.environ.items() if k not in aside} | {"HOME": str(home)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *words], env=env, text=True, cwd=ROOT, **pipes)


def served(port: int) -> bool:
    """Whether a port gives pages to whoever asks without a token."""
    for path in ("/", "/metrics", "/logs", "/api/jobs/"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
                if page.status == 200:
                    return True
        except (OSError, http.client.HTTPException):
            continue
    return False


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("left_by_ray", [False, True])
def test_a_ray_of_our_own_is_closed_to_the_network_and_to_other_users(tmp_path: Path, left_by_ray: bool) -> None:
    homes = [tmp_path / "mine", tmp_path / "yours"]
    for home in homes:
        (home / ".ray").mkdir(parents=True)
    if left_by_ray:  # as an earlier `ray.init()` has written it
        (homes[0] / ".ray/auth_token").write_text("0123456789abcdef0123456789abcdef")
        (homes[0] / ".ray/auth_token").chmod(0o644)
    (homes[1] / ".ray/auth_token").write_text("another-token-of-another-user-00")
    mine = python(OWN_RAY, home=homes[0])
    assert mine.stdout is not None
    line = mine.stdout.readline()
    assert line, mine.communicate()[1]
    listening, mode, address = json.loads(line)
    assert {ip for ip, _ in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, "other machines can knock there"
    assert not any(served(port) for _, port in listening), "other users can read what they serve"
    assert mode == stat.S_IRUSR | stat.S_IWUSR
    out, said = python(STRANGER, address, home=homes[1]).communicate(timeout=120)
    assert "IN" not in out and "AuthenticationError" in said, "a process without the token is not let in"
    out, said = python(STRANGER, address, home=homes[0]).communicate(timeout=120)
    assert "IN" in out, said
    rest, _ = mine.communicate("\n", timeout=120)
    assert json.loads(rest) is None, "the environment is as it was"
