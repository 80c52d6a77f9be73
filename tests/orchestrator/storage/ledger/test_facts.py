"""`sweep.json` carries a checksum of what it says: a fact that is changed later is found, and nothing hides it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.run.manifest import grown_manifest
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger, Store, check_facts, with_checksum
from tests.attack.folders import FUNCTION, command, ran, stranger

CHANGES: dict[str, Any] = {
    "host": "another",
    "git_commit": "0" * 40,
    "command": "landsweep run other.yaml",
    "created": 1.0,
    "name": "other",
    "spec__description": "a better story",
    "versions__torch": "9.9",
    "kind_version": 7,
    "fingerprint": "0",
    "folder": "/elsewhere",
    "more": None,
    "definitions__more": {},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("own"), FUNCTION)


def wrong(results: Path) -> list[str]:
    return [str(d) for d in Ledger.open(Store.at(results)).verify().damaged]


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_fact_is_damage(swept: Path, tmp_path: Path, field: str) -> None:
    assert not wrong(swept)
    copy = stranger(swept, f"changed-{field}", **{field: CHANGES[field]})
    assert wrong(copy) == ["sweep.json: what it says of the sweep (spec, commit, host, command or others) was changed"]


def test_what_changes_no_fact_is_no_damage(swept: Path) -> None:
    copy = stranger(swept, "written-anew")
    head = json.loads((copy / "sweep.json").read_text())
    (copy / "sweep.json").write_text(json.dumps(dict(reversed(head.items())), indent=7))
    assert not wrong(copy)


def test_a_checksum_that_was_taken_away_is_missed(swept: Path) -> None:
    copy = stranger(swept, "bare", host="another")
    head = json.loads((copy / "sweep.json").read_text())
    del head["checksum"]
    (copy / "sweep.json").write_text(json.dumps(head))
    assert wrong(copy) == ["sweep.json: its checksum was removed"]
    (copy / "sweep.json").write_text(json.dumps({**head, "id": head["id"][:32]}))
    assert any("it belongs to another sweep" in line for line in wrong(copy)), "nor can it pass for an older one"


def test_an_earlier_version_wrote_no_checksum(swept: Path, tmp_path: Path) -> None:
    ledger = Ledger.create(Store.at(tmp_path / "old"), {"id": "0" * 32, "host": "h"})
    found = ledger.verify()
    assert found.sound and not found.facts_proved
    found = Ledger.open(Store.at(swept)).verify()
    assert found.sound and found.facts_proved


def test_commands_say_it(swept: Path, tmp_path: Path) -> None:
    done = command("verify", swept, cwd=tmp_path)
    assert done.returncode == 0 and "what was written; so is sweep.json" in done.stdout.replace("\n", " ")
    copy = stranger(swept, "told", host="another")
    done = command("verify", copy, cwd=tmp_path)
    assert done.returncode == 1
    assert "No command can restore sweep.json" in done.stdout and "rerun" not in done.stdout
    assert json.loads(command("verify", copy, "--json", cwd=tmp_path).stdout)["mend"] is None
    (copy / "rows" / "strange").touch()
    assert "rerun" in command("verify", copy, cwd=tmp_path).stdout
    (copy / "rows" / "strange").unlink()
    done = command("report", copy, cwd=tmp_path)
    assert done.returncode == 0 and "not proved" in done.stderr
    done = command("run", swept.parent.parent / "spec.yaml", "--out", copy, "site.executor=local",
                   "site.tracking=false", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0 and "was changed" in done.stdout + done.stderr
    assert wrong(copy), "a run does not make it right"


@pytest.mark.parametrize("state", ["right", "wrong", "absent"])
def test_growth_keeps_what_was_proved_and_hides_nothing(state: str) -> None:
    before: dict[str, Any] = {"id": "a" * (32 if state == "absent" else 40), "spec": {}, "definitions": {}, "host": "h"}
    if state != "absent":
        before = with_checksum(before)
    if state == "wrong":
        before["host"] = "another"
    grown = grown_manifest(before, Spec(kind="coin", name="c"))
    assert grown is not None and grown["spec"]["kind"] == "coin"
    assert (check_facts(grown) is None, "checksum" in grown) == {
        "right": (True, True), "wrong": (False, True), "absent": (True, False)
    }[state]  # fmt: skip


def test_growth_of_a_sweep_keeps_it_sound(tmp_path: Path) -> None:
    results = ran(tmp_path, FUNCTION)
    before = json.loads((results / "sweep.json").read_text())
    assert ran(tmp_path, {**FUNCTION, "axes": {"x": [0.0, 1.0, 2.0], "y": [0.0, 2.0]}}) == results
    after = json.loads((results / "sweep.json").read_text())
    assert after["checksum"] != before["checksum"] and after["id"] == before["id"]
    assert not wrong(results)
