"""The commit of a folder is found without running any program that its repository names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from landsweep.orchestrator.run.commits import commit_of


def git(folder: Path, *words: str) -> str:
    options = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", "-C", folder, *options, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", "a.txt")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A program that leaves a trace when it is run."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\nexit 1\n")
    program.chmod(0o755)
    return program


def test_the_commit_and_whether_tracked_files_differ(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    (repository / "untracked").touch()
    assert commit_of(repository) == head
    (repository / "a.txt").touch()  # the same content
    assert commit_of(repository) == head
    (repository / "a.txt").write_text("two\n")
    assert commit_of(repository) == f"{head}+changes"
    git(repository, "add", "a.txt")
    assert commit_of(repository) == f"{head}+changes"
    (tmp_path / "none").mkdir()
    assert commit_of(tmp_path / "none") is None


def fsmonitor(folder: Path, program: Path) -> None:
    git(folder, "config", "core.fsmonitor", str(program))


def clean_filter(folder: Path, program: Path) -> None:
    git(folder, "config", "filter.own.clean", str(program))
    git(folder, "config", "filter.own.required", "true")
    (folder / ".git" / "info" / "attributes").write_text("* filter=own\n")


def process_filter(folder: Path, program: Path) -> None:
    git(folder, "config", "filter.a.b c.process", str(program))
    (folder / ".git" / "info" / "attributes").write_text('* filter=a.b\n"*" filter=own\n')
    git(folder, "config", "filter.own.process", str(program))


def included_filter(folder: Path, program: Path) -> None:
    (folder / "more").write_text(f'[filter "own"]\nclean = {program}\n[core]\nfsmonitor = {program}\n')
    git(folder, "config", "include.path", str(folder / "more"))
    (folder / ".gitattributes").write_text("* filter=own\n")


def hook(folder: Path, program: Path) -> None:
    (folder / ".git" / "hooks" / "post-index-change").symlink_to(program)


def hooks_elsewhere(folder: Path, program: Path) -> None:
    (folder / "hooks").mkdir()
    (folder / "hooks" / "post-index-change").symlink_to(program)
    git(folder, "config", "core.hooksPath", str(folder / "hooks"))


def submodule(folder: Path, program: Path) -> None:
    inner = folder.parent / "inner"
    subprocess.run(["git", "clone", "-q", folder, inner], check=True)
    git(folder, "submodule", "add", "-q", str(inner), "sub")
    git(folder, "commit", "-qm", "submodule")
    fsmonitor(folder / "sub", program)
    git(folder / "sub", "config", "filter.inner.clean", str(program))
    place = Path(git(folder / "sub", "rev-parse", "--absolute-git-dir"))
    (place / "info").mkdir(exist_ok=True)
    (place / "info" / "attributes").write_text("* filter=inner\n")
    (folder / "sub" / "a.txt").write_text("two\n")


def missing_objects(folder: Path, program: Path) -> None:
    """Objects that a partial clone lacks are fetched when they are needed."""
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    git(folder, "config", "core.repositoryFormatVersion", "1")
    git(folder, "config", "extensions.partialClone", "origin")
    git(folder, "config", "remote.origin.promisor", "true")
    git(folder, "config", "remote.origin.url", f"ext::{program}")
    git(folder, "config", "protocol.ext.allow", "always")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    (folder / ".git" / "index").unlink()


MEANS = (
    fsmonitor, clean_filter, process_filter, included_filter, hook, hooks_elsewhere, submodule, missing_objects,
)  # fmt: skip


@pytest.mark.parametrize("means", MEANS)
def test_no_program_of_the_repository_is_run(repository: Path, canary: Path, means: object) -> None:
    assert callable(means)
    means(repository, canary)
    trace = canary.with_name("canary")
    trace.unlink(missing_ok=True)
    (repository / "a.txt").write_text("one\n")  # another time, so that git compares contents
    commit = commit_of(repository)
    assert not trace.exists()
    assert means is missing_objects or str(commit).startswith(git(repository, "rev-parse", "HEAD"))
    plain = ["git", "-C", str(repository), "describe", "--always", "--dirty"]
    subprocess.run(plain, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=20)
    assert trace.exists(), "this is no way to have git run a program, so the test proves nothing"
