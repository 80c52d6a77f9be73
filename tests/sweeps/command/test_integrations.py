"""Real trainers of Lightning and of Hugging Face: what they log is the row, they stop, and go on from checkpoints.

Each runs as a program and as a function of a sweep, as users have them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landsweep.orchestrator.row import Status
from landsweep.orchestrator.run.sweep import Sweep
from tests.support.cli import LOCAL, command, write_spec
from tests.support.programs import Programs

pytestmark = pytest.mark.slow  # the libraries take some ten seconds to import

LIGHTNING = """
import logging, os, sys, warnings
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset
from landsweep import unit
from landsweep.integrations.lightning import SweepCallback, last_checkpoint


class Line(LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.layer, self.lr = torch.nn.Linear(1, 1), lr
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def training_step(self, batch, i):
        if os.environ.get("FAULT") == "1" and unit.attempt == 1 and self.global_step == 25:
            raise ValueError("a fault at step 25")
        loss = (self.layer(batch[0]) - batch[1]).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, i):
        self.log("val_loss", (self.layer(batch[0]) - batch[1]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


def train(lr):
    x = torch.linspace(-1, 1, 64)[:, None]
    data = DataLoader(TensorDataset(x, 2 * x + 1), 16)
    trainer = Trainer(max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False,
                      callbacks=[SweepCallback(every=5, checkpoint_every=10)])
    begun = last_checkpoint()
    module = Line(lr)
    trainer.fit(module, data, data, ckpt_path=begun)
    unit.report(trainer.global_step + 1, begun=float(begun is not None), weight=float(module.layer.weight))


if __name__ == "__main__":
    train(float(sys.argv[1]))
"""

TRANSFORMERS = """
import os, sys, warnings
warnings.filterwarnings("ignore")
import torch
from transformers import Trainer, TrainingArguments
from landsweep import unit
from landsweep.integrations.transformers import SweepCallback, last_checkpoint


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)
        self.calls = 0

    def forward(self, x, labels):
        self.calls += self.training
        if os.environ.get("FAULT") == "1" and unit.attempt == 1 and self.calls == 25:
            raise ValueError("a fault at step 25")
        out = self.layer(x)
        return {"loss": (out - labels).square().mean(), "logits": out}


def train(lr):
    x = torch.linspace(-1, 1, 64)[:, None]
    rows = [{"x": a, "labels": 2 * a + 1} for a in x]
    arguments = TrainingArguments(output_dir=str(unit.checkpoint_dir), learning_rate=lr, optim="sgd", max_steps=40,
                                  per_device_train_batch_size=16, logging_steps=5, eval_strategy="steps", eval_steps=10,
                                  save_steps=10, save_total_limit=1, report_to=[], use_cpu=True, disable_tqdm=True)
    model = Line()
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=[SweepCallback()])
    begun = last_checkpoint()
    trainer.train(resume_from_checkpoint=begun)
    unit.report(trainer.state.global_step + 1, begun=float(begun is not None), weight=float(model.layer.weight))


if __name__ == "__main__":
    train(float(sys.argv[1]))
"""


@pytest.mark.parametrize(("source", "validation"), [(LIGHTNING, "val_loss"), (TRANSFORMERS, "eval_loss")])
def test_as_a_program_it_fails_and_goes_on(tmp_path: Path, source: str, validation: str) -> None:
    """The weights after a fault at step 25 and a second attempt are those of a training without one."""
    programs = Programs(tmp_path)
    (tmp_path / "train.py").write_text(source, encoding="utf-8")

    def run(fault: str) -> list[object]:
        fields = {"run": ["{python}", "train.py", "{lr}"], "env": {"FAULT": fault}, "timeout": 300}
        spec = programs.spec("", axes={"lr": [0.1]}, command=fields)
        (first,), progress = programs.run(spec)
        if fault == "0":
            assert first.status is Status.ok, first.error
            steps = [p.step for p in progress if validation in p.metrics]
            assert steps and steps == sorted(steps) and steps[-1] == 40
            return [first]
        assert first.status is Status.failed and "a fault at step 25" in str(first.error)
        (second,), _ = programs.run(spec)
        assert second.status is Status.ok, second.error
        return [second]

    (whole,), (resumed,) = run("0"), run("1")
    assert (whole.metrics["begun"], resumed.metrics["begun"]) == (0, 1)  # type: ignore[attr-defined]
    for name in (validation, "weight"):
        assert resumed.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("source", "validation"), [(LIGHTNING, "val_loss"), (TRANSFORMERS, "eval_loss")])
def test_as_a_function_its_logs_are_the_row(tmp_path: Path, source: str, validation: str) -> None:
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    spec = {"kind": "function", "name": "f", "function": "mine:train", "axes": {"lr": [0.1, 0.2]}}
    command("run", str(write_spec(tmp_path, spec)), *LOCAL, "site.probe_seconds=0.001", cwd=tmp_path)
    rows = Sweep.at(tmp_path / "results/f").rows()
    assert rows["status"].tolist() == ["ok", "ok"], rows["error"]
    assert (rows[validation] < 0.5).all(), json.dumps(rows.to_dict(), default=str)
