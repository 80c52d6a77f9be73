"""What is installed: one import name, with all files that the code reads, and no name of the user in its way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT, SOURCES

NAMES = ("orchestrator", "sweeps", "cluster")
PAGE = """
import landsweep.orchestrator.report.html as html
page = html.page_html(html.Page("a < b", [html.SectionView("s", [("text", "t")])], {"x": "1"}, "spec", "y"))
print(html.__file__)
print(page)
"""


VERSIONS = ("3.12", "3.13")  # which the package claims, beside the one that runs these tests
SMALL = [
    *(f"models.{name}.{field}" for name in ("skip", "noskip") for field in ("depth=8", "width=4", "train.epochs=1")),
    *(f"axes.{axis}.linear=[-1,1,3]" for axis in "xy"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel as `make dist` makes it: from an sdist of the sources, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*NAMES, "src"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*pip, str(next(folder.glob("landsweep-*.tar.gz")))], check=True, capture_output=True)
    return next(folder.glob("landsweep-*.whl"))


def test_a_wheel_holds_one_package_with_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"landsweep"}
    files = (path for name in NAMES for path in (ROOT / name).rglob("*") if path.is_file())
    assert {f"landsweep/{path.relative_to(ROOT)}" for path in files if "__pycache__" not in path.parts} <= names
    assert {"landsweep/__init__.py", "landsweep/py.typed"} <= names


def test_what_is_unpacked_from_a_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import landsweep; assert landsweep.__file__.startswith(PLACE), landsweep.__file__\n"
        "from landsweep.orchestrator.commands.cli import main\n"
        "import sys; sys.argv = ['landsweep', 'plan', SPEC, '--site', 'local', 'site.tracking=off']\n"
        "main()\n"
    )
    spec = tmp_path / "site/landsweep/sweeps/specs/function_minima.yaml"
    head = f"PLACE, SPEC = {str(tmp_path / 'site')!r}, {str(spec)!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "units" in done.stdout


def test_a_page_is_written_from_an_unpacked_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PAGE], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    where, page = done.stdout.split("\n", 1)
    assert Path(where).is_relative_to(tmp_path)
    assert "<h1>a &lt; b</h1>" in page and "--ink: #1c2024" in page and "<dt>x</dt><dd>1</dd>" in page


@pytest.mark.slow
def test_the_demo_runs_from_an_installed_wheel_far_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, which finds the libraries that landsweep needs among those of this one."""
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    places = [place for place in sys.path if Path(place).is_dir() and "site-packages" in place]
    (next(home.glob("lib/python*/site-packages")) / "libraries.pth").write_text("\n".join(places), "utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def say(*words: str) -> str:
        command = [str(home / "bin/landsweep"), *words]
        done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = "import landsweep.sweeps; print(landsweep.sweeps.__file__)"
    found = subprocess.run([str(python), "-c", where], cwd=elsewhere, env=env, capture_output=True, text=True)
    assert Path(found.stdout.strip()).is_relative_to(home), found.stdout + found.stderr
    assert "landscape_skip" in say("specs")
    say("run", "landscape_skip", "site.executor=local", "site.tracking=off", *SMALL)
    assert "18 rows" in say("verify", "results/landscape_skip")
    assert (elsewhere / "results/landscape_skip/report/index.html").is_file()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_compiles_without_a_warning_for_the_versions_that_are_claimed(version: str, tmp_path: Path) -> None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    pythons = [*pyenv.glob(f"{version}.*/bin/python3"), *filter(None, [shutil.which(f"python{version}")])]
    if not pythons:
        pytest.skip(f"there is no Python {version} on this machine")
    code = (
        "import sys; assert '.'.join(map(str, sys.version_info[:2])) == sys.argv[1]\n"
        "for path in sys.argv[2:]: compile(open(path, encoding='utf-8').read(), path, 'exec')"
    )
    files = [str(path) for path in SOURCES]
    command = [str(pythons[0]), "-I", "-W", "error", "-c", code, version, *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_versions_are_those_that_are_claimed() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    claimed = [c.rsplit(" ", 1)[1] for c in project["classifiers"] if ":: Python :: 3." in c]
    assert claimed == ["3.11", *VERSIONS]
    assert project["requires-python"] == ">=3.11"


def test_public_names_are_imported_when_they_are_asked_for() -> None:
    code = (
        "import sys, landsweep\n"
        "assert not {'torch', 'numpy', 'ray'} & set(sys.modules)\n"
        "for name in landsweep.__all__: assert getattr(landsweep, name).__name__ == name\n"
        "assert set(landsweep.__all__) <= set(dir(landsweep))\n"
        "try: landsweep.nothing\n"
        "except AttributeError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'landsweep' has no attribute 'nothing'\n"


@pytest.mark.parametrize("as_package", [False, True], ids=["module", "package"])
def test_names_of_the_users_folder_are_in_nobodys_way(tmp_path: Path, as_package: bool) -> None:
    """`cluster.py`, `sweeps/` and the like are frequent in research code; ours stay ours, and so do theirs."""
    for name in NAMES:
        file = tmp_path / name / "__init__.py" if as_package else tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"OWNER = 'user'\ndef f(x): return {{'y': 2 * x, 'owner': '{name}'}}\n")
    code = (
        "import cluster, orchestrator, sweeps\n"
        "from landsweep import Zoo, Recipe\n"
        "from landsweep.cluster.launchers.slurm import Slurm\n"
        "print(cluster.OWNER, orchestrator.OWNER, sweeps.OWNER, Zoo.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "user user user Zoo\n"
    (tmp_path / "spec.yaml").write_text(
        "kind: function\nname: theirs\nfunction: 'sweeps:f'\naxes: {x: [1, 2]}\ncolumns: {y: {}, owner: {type: text}}\n"
    )
    landsweep = str(Path(sys.executable).parent / "landsweep")
    words = ["run", "spec.yaml", "--site", "local", "site.tracking=off", "--out", "results"]
    done = subprocess.run([landsweep, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([landsweep, "verify", "results"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_clone_beside_which_python_starts_hides_nothing(tmp_path: Path) -> None:
    """The clone of this repository is a folder named `landsweep` without an `__init__.py`."""
    (tmp_path / "landsweep").symlink_to(ROOT)
    code = "from landsweep import Zoo; import landsweep.cluster.launch; print(Zoo.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "Zoo\n"
