"""Scripts and manifests of launchers with hostile words in every place: run or read back, words and no more."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.site import parse_site
from tests.attack.amounts import held
from tests.cluster.launchers.launches import launch, launcher

WORDS = ["$(touch PWNED)", "`touch PWNED`", "';touch PWNED;'", '";touch PWNED;"', "a\ntouch PWNED\n", "&touch PWNED&",
         "@@MEMBER", "@@SETUP", "@@{SETUP}", "--rm", "a b", "*", "~", "%u", "沙"]  # fmt: skip
WITHOUT_BLANKS = [word.replace(" ", "${IFS}") for word in WORDS if not {"'", '"', "\n", "\\"} & set(word)]


def stand_in(file: Path, told: Path) -> None:
    """A program that writes down the words that it is given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/bash\nfor word in "$@"; do printf "%s\\0" "$word"; done >>{told}\nprintf "\\0" >>{told}\n')
    file.chmod(0o755)


def words_of(told: Path) -> list[list[str]]:
    return [call.split("\0") for call in told.read_text().removesuffix("\0\0").split("\0\0")]


def untouched(folder: Path) -> bool:
    return not [file for file in folder.rglob("*") if file.name == "PWNED"]


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("word", WITHOUT_BLANKS, ids=ascii)
def test_a_slurm_script(tmp_path: Path, word: str, array: bool) -> None:
    """With stand-ins for Slurm's programs."""
    home = tmp_path / "run" / word
    home.mkdir(parents=True)
    for name, told in (("srun", "told"), ("scancel", "others"), ("scontrol", "others")):
        stand_in(tmp_path / "bin" / name, tmp_path / told)
    options = {"type": "slurm", "nodes": 1, "python": f"/py/{word}", "scratch": f"/s/{word}", "network": word}
    section = {**options, **({"array": 2} if array else {})}
    job = launcher(parse_site({"launcher": section}, "test"))
    (text,) = job.files(launch(home=str(home), out=str(tmp_path / word), cwd=word, command=word)).values()
    (tmp_path / "job.sh").write_text(text)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURMD_NODENAME": "n1", "SLURM_NNODES": "1",
             "SLURM_CPUS_PER_TASK": "4", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}  # fmt: skip
    env = {**os.environ, **slurm, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", tmp_path / "job.sh"], cwd=tmp_path / "run", env=env, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    (call,) = words_of(tmp_path / "told")
    place = call.index(f"/py/{word}")
    assert call[place : place + 5][1:4] == ["-P", "-m", "landsweep.cluster.node.member"]
    assert call[place + 4] == str(home / "launch.json")
    assert f"--scratch=/s/{word}" in call and f"--network={word}" in call
    assert untouched(tmp_path)
    held(f"hostile words, Slurm: {word!r}", 1, 1)


@pytest.mark.parametrize("word", [word for word in WORDS if {" ", "'", '"', "\n"} & set(word)], ids=ascii)
def test_slurm_refuses_logs_that_it_can_not_write(word: str) -> None:
    job = launcher(parse_site({"launcher": {"type": "slurm"}}, "test"))
    with pytest.raises(SpecError, match="can't write its log"):
        job.files(launch(home=f"/shared/{word}"))


@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_an_ssh_command_and_its_script(tmp_path: Path, word: str) -> None:
    """The command that ssh would hand to a shell there, with a stand-in for python."""
    home = tmp_path / "run" / word
    (home / "cwd" / word).mkdir(parents=True)
    (home / "token").write_text("t")
    python = tmp_path / "python" / word / "python"
    stand_in(python, tmp_path / "told")
    section = {"type": "ssh", "hosts": ["h"], "python": str(python), "scratch": f"/s/{word}", "network": word}
    job = launcher(parse_site({"launcher": section}, "test"))
    launched = launch(home=str(home), out=str(tmp_path), cwd=str(home / "cwd" / word), command=word)
    (text,) = job.files(launched).values()
    (home / "job.sh").write_text(text)
    ((*_, host, command),) = job.commands(launched)
    assert host == "h" and command.endswith("&")
    done = subprocess.run(["sh", "-c", command.removesuffix("&").replace("nohup setsid ", "")], cwd=tmp_path / "run")
    assert done.returncode == 0 and (home / "exit").read_text() == "0\n", (home / "log-h.txt").read_text()
    (call,) = words_of(tmp_path / "told")
    assert call[:5] == ["-P", "-m", "landsweep.cluster.node.member", str(home / "launch.json"), "head"]
    assert f"--scratch=/s/{word}" in call and f"--network={word}" in call
    assert untouched(tmp_path)
    held(f"hostile words, ssh: {word!r}", 1, 1)


@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_a_manifest(word: str) -> None:
    """Read back: nothing of the launch stands in a command, and its file is as it was."""
    section = {"type": "kuberay", "image": word, "volume": {"claim": "c"}, "labels": {"note": word}}
    job = launcher(parse_site({"launcher": section}, "test"))
    launched = launch(out=f"/results/{word}", cwd=word, command=word, folder=word)
    (text,) = job.files(launched).values()
    config, manifest = yaml.safe_load_all(text)
    assert json.loads(config["data"]["launch.json"]) == json.loads(launched.text())
    assert manifest["metadata"]["labels"]["note"] == word
    (other,) = job.files(launch()).values()
    assert manifest["spec"]["entrypoint"] == list(yaml.safe_load_all(other))[1]["spec"]["entrypoint"]
    pod = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == word and "command" not in pod["containers"][0]
    held(f"hostile words, KubeRay: {word!r}", 1, 1)
