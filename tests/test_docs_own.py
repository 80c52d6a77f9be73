"""The worked examples of own networks, data and losses in the documents do what is said there."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.kind import Workbench
from orchestrator.row import Outcome, Status
from orchestrator.spec import parse
from sweeps.landscape import LandscapeKind
from sweeps.zoo import ZooKind
from tests.test_house_rules import ROOT


def section(document: str, language: str) -> str:
    """The first block of code in this language of a document's section about own parts."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    own = text[text.index("## Your own network") :]
    return str(re.findall(rf"```{language}\n(.*?)```", own, re.S)[0])


@pytest.mark.parametrize(("document", "kind"), [("landscapes.md", LandscapeKind()), ("zoo.md", ZooKind())])
def test_the_example_of_own_parts_runs(
    document: str,
    kind: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # of another folder
    (tmp_path / "mine.py").write_text(section("landscapes.md", "python"))
    spec = parse(kind.spec, yaml.safe_load(section(document, "yaml")), document)
    spec = spec.model_copy(update={"backend": "loop"}) if document == "zoo.md" else spec  # timing others takes long
    bench, made = Workbench(folder=tmp_path), dict[str, Any]()
    kind.check(spec, bench)
    for step in kind.preparations(spec):
        made[step.name] = kind.prepare(spec, step.name, {n: made[n] for n in step.needs}, bench)
    units = kind.planner(spec).ask(100)
    outcomes = [o for o in kind.open(spec, made, bench).evaluate(units) if isinstance(o, Outcome)]
    assert [o.status for o in outcomes] == [Status.ok] * len(units)
    accuracies = [o.metrics["test_accuracy"] for o in outcomes]
    assert max(a for a in accuracies if isinstance(a, float)) > 0.8
    if document == "landscapes.md":
        assert outcomes[2].metrics["margin_loss"] < 0  # type: ignore[operator]
