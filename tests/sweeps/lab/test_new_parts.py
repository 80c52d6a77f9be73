"""A new optimizer, data set or probe is a file of its own and a name in the list of its package.

The package is copied, a file and a name are added to the copy for each, and one sweep uses them all.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.copied import LANDSWEEP, copy_package, run_python

PARTS = {
    "optim": ("__init__", "lion", "Lion", "signer", "Signer", "| Lion |", "| Lion | Signer |"),
    "data": ("single", "modular", "Modular", "clock", "Clock", "| Modular |", "| Modular | Clock |"),
    "probes": ("__init__", "logits", "Logits", "peaks", "Peaks", "| Logits |", "| Logits | Peaks |"),
}
ZOO = """
kind: zoo
name: parts
recipe:
  data: {source: clock, modulus: 7}
  net: {net: mlp, hidden: [4]}
  optimizer: {method: signer}
  steps: 4
  batch_size: 8
  evaluate: {every_steps: 2, probes: [{probe: peaks}]}
axes: {optimizer.learning_rate: [0.01, 0.1]}
"""


def test_one_sweep_uses_them(tmp_path: Path) -> None:
    lab = copy_package(tmp_path) / "lab"
    for place, (list_of, module, name, new_module, new_name, old, new) in PARTS.items():
        text = (lab / place / f"{module}.py").read_text()
        text = text.replace(f'"{module}"', f'"{new_module}"').replace(f'"{name}"', f'"{new_name}"')
        text = (
            text.replace(f"class {name}(", f"class {new_name}(").replace("logit_", "peak_").replace("log_z", "log_peak")
        )
        (lab / place / f"{new_module}.py").write_text(text)
        package = f"landsweep.sweeps.lab.{place}"
        listed = (lab / place / f"{list_of}.py").read_text()
        assert listed.count(old) == 1
        line = f"from {package}.{module} import {name}\n"
        more = f"{line}from {package}.{new_module} import {new_name}\n"
        (lab / place / f"{list_of}.py").write_text(listed.replace(line, more).replace(old, new))
    (tmp_path / "parts.yaml").write_text(ZOO)
    run_python(tmp_path, *LANDSWEEP, "run", "parts.yaml", "--site", "local", "site.tracking=off")
    assert "2/2 units (2 ok)" in run_python(tmp_path, *LANDSWEEP, "status", "results/parts")
    code = "from landsweep import Zoo; print(sorted({*Zoo('results/parts').rows} & {'peak_mean', 'log_peak'}))"
    assert run_python(tmp_path, "-c", code) == "['log_peak', 'peak_mean']\n"
