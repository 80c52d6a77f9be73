"""Programs as people have them: torchrun, Hydra and TensorBoard, each the real one; results in an object store."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from landsweep.orchestrator.row import Status
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.outputs import unit_output
from landsweep.orchestrator.storage.store import Store
from tests.support.cli import LOCAL, command, write_spec
from tests.support.programs import REPORT, Programs
from tests.support.s3 import S3, running_s3

TORCHRUN = ["{python}", "-m", "torch.distributed.run"]  # what the command torchrun starts


def script(programs: Programs, source: str) -> str:
    """A script of the user's, which `report` is defined in."""
    file = programs.folder / "train.py"
    file.write_text(REPORT + textwrap.dedent(source), encoding="utf-8")
    return str(file)


def test_torchrun_with_two_processes(programs: Programs) -> None:
    """Gradients of both are averaged by gloo; the first one reports, and the weights are those of the whole batch.

    The ranks leave by `os._exit`: at a common end on a busy machine, torch's threads abort about one process in thirty.
    """
    source = """
    import os, sys, torch
    import torch.distributed as dist
    dist.init_process_group("gloo")
    rank, lr = dist.get_rank(), float(sys.argv[1])
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1, bias=False))
    torch.nn.init.zeros_(model.module.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for step in range(1, 4):
        loss = (model(torch.tensor([[1.0 + rank]])) - 1).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        if rank == 0:
            report(step=step, weight=float(model.module.weight), ranks=dist.get_world_size())
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)
    """
    run = [*TORCHRUN, "--standalone", "--nproc-per-node=2", script(programs, source), "{lr}"]
    spec = programs.spec("", axes={"lr": [0.1]}, command={"run": run})
    (outcome,), progress = programs.run(spec)
    assert outcome.status is Status.ok, outcome.error
    weight = 0.0
    for _ in range(3):
        weight -= 0.1 * sum(2 * (weight * x - 1) * x for x in (1.0, 2.0)) / 2
    assert outcome.metrics["weight"] == pytest.approx(weight, rel=1e-6) and outcome.metrics["ranks"] == 2
    assert [p.step for p in progress] == [1, 2, 3]


@pytest.mark.slow
def test_a_rank_that_fails_fails_the_unit(programs: Programs) -> None:
    source = """
    import os, time
    if os.environ["RANK"] == "1":
        raise ValueError("rank one is broken")
    time.sleep(60)
    """
    run = [*TORCHRUN, "--standalone", "--nproc-per-node=2", script(programs, source), "{x}"]
    (outcome,), _ = programs.run(programs.spec("", command={"run": run, "timeout": 120}))
    assert outcome.status is Status.failed and "rank one is broken" in str(outcome.error)


def test_hydra(programs: Programs) -> None:
    """The real package: overrides by `key=value`, a number, a text and a list, and its folder in `{dir}`."""
    source = """
    import hydra
    from omegaconf import OmegaConf
    @hydra.main(version_base=None, config_path=None)
    def main(config):
        from pathlib import Path
        given = OmegaConf.to_container(config)
        here = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
        config = (here / ".hydra/config.yaml").is_file()
        report(rate=given["optimizer"]["lr"], method=given["name"], last=given["widths"][-1])
        report(config=config, here=str(here))
    if __name__ == "__main__":
        main()
    """
    axes = {"lr": [1e-7], "name": ["adam"], "widths": [[4, 8]]}
    words = ["+optimizer.lr={lr}", "+name={name}", "+widths={widths}", "hydra.run.dir={dir}/hydra"]
    spec = programs.spec("", axes=axes, command={"run": ["{python}", script(programs, source), *words]})
    (outcome,), _ = programs.run(spec)
    assert outcome.status is Status.ok, outcome.error
    metrics = dict(outcome.metrics)
    assert (metrics["rate"], metrics["method"], metrics["last"], metrics["config"]) == (1e-7, "adam", 8, True)
    assert str(metrics["here"]).startswith(str(programs.results))


def test_event_files_of_tensorboard(programs: Programs) -> None:
    """Written by torch's own writer, in two folders; their steps are series, and the last values the row."""
    source = """
    import sys
    from torch.utils.tensorboard import SummaryWriter
    folder = sys.argv[1]
    writer = SummaryWriter(f"{folder}/logs")
    for step in range(12000):
        writer.add_scalar("loss", float(1 / (1 + step)), step)
    writer.add_text("note", "words are no metric", 1)
    writer.close()
    other = SummaryWriter(f"{folder}/logs/eval")
    other.add_scalar("accuracy/top1", 0.75, 3)
    other.close()
    """
    fields = {"run": ["{python}", script(programs, source), "{dir}", "{x}"], "metrics": {"tensorboard": "logs"}}
    (outcome,), progress = programs.run(programs.spec("", command=fields))
    assert outcome.status is Status.ok, outcome.error
    assert outcome.metrics["loss"] == pytest.approx(1 / 12000, rel=1e-6)
    assert outcome.metrics["eval/accuracy/top1"] == 0.75
    losses = {p.step: p.metrics["loss"] for p in progress if "loss" in p.metrics}
    assert len(losses) == 12000 and losses[9] == pytest.approx(0.1)  # none is left out, as TensorBoard itself would
    (empty,), _ = programs.run(programs.spec("pass", command={"metrics": {"tensorboard": "logs"}}))
    assert empty.status is Status.failed and "no event files of TensorBoard" in str(empty.error)


@pytest.mark.slow
def test_an_event_file_that_is_cut_off_gives_what_it_has(programs: Programs) -> None:
    source = """
    import os, sys
    from pathlib import Path
    from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter(f"{sys.argv[1]}/logs")
    for step in range(10):
        writer.add_scalar("loss", float(step), step)
    writer.close()
    (file,) = Path(sys.argv[1], "logs").iterdir()
    os.truncate(file, file.stat().st_size - 5)
    """
    fields = {"run": ["{python}", script(programs, source), "{dir}", "{x}"], "metrics": {"tensorboard": "logs"}}
    (outcome,), _ = programs.run(programs.spec("", command=fields))
    assert outcome.status is Status.ok and outcome.metrics["loss"] == 8


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.mark.slow
def test_results_in_an_object_store(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed unit that is computed again finds its folder, in the cache; what it printed is in the store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "train.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "x, folder = float(sys.argv[1]), Path(sys.argv[2])\n"
        "begun = folder / 'begun'\n"
        "print('value', x * x, 'after', int(begun.exists()))\n"
        "if x == 2 and not begun.exists():\n"
        "    begun.touch()\n"
        "    sys.exit(5)\n"
    )
    spec = {
        "kind": "command",
        "name": "stored",
        "command": {
            "run": ["{python}", "train.py", "{x}", "{dir}"],
            "metrics": {"pattern": r"value (?P<value>\S+) after (?P<again>\S+)"},
        },
        "axes": {"x": [1, 2]},
    }
    file, where = write_spec(tmp_path, spec), f"s3://{s3.bucket}/stored"
    command("run", str(file), "--out", where, *LOCAL, cwd=tmp_path, check=1)
    command("rerun", where, *LOCAL, cwd=tmp_path)
    rows = Sweep.at(where).rows().sort_values("x")
    assert rows["value"].tolist() == [1, 4] and rows["again"].tolist() == [0, 1]
    printed = unit_output(Store.at(where), rows["key"].iloc[1])
    assert "value 4.0 after 1" in printed
