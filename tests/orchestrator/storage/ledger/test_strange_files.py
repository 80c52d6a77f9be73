"""Files that rows name, as nobody but a stranger would write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from landsweep.orchestrator.storage.ledger.files import NamedFile, check_files
from landsweep.orchestrator.storage.store import Store


def weights(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":' * 12_000,
        b'{"a":[' + b"[" * 50_000,
        b'{"a": {"data_offsets": [0, "1"]}}',
        b'{"a": 3}',
        b"{" + b"\xff" * 9,
    ],
    ids=["deep object", "deep list", "text", "number", "no text"],
)
def test_a_header_that_is_none_is_damage_and_no_crash(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.safetensors").write_bytes(weights(header))
    ((_, damage),) = check_files(
        Store.at(tmp_path), [NamedFile("weights/a.safetensors", ("0" * 32,), ("k",))], deep=False
    )
    assert damage.reason == "it does not begin as a file of arrays does"
