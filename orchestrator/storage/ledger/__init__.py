"""The ledger: Parquet parts of rows and series that survive any kill, and the lock of the driver that writes them."""

from landsweep.orchestrator.storage.ledger.facts import FACTS, check_facts, has_checksum, with_checksum
from landsweep.orchestrator.storage.ledger.files import NamedFile, check_files, check_states
from landsweep.orchestrator.storage.ledger.keys import KeySet
from landsweep.orchestrator.storage.ledger.ledger import Findings, Ledger
from landsweep.orchestrator.storage.ledger.lock import Holder, driver_here, driver_lives
from landsweep.orchestrator.storage.ledger.parts import Damage
from landsweep.orchestrator.storage.ledger.prepared import (
    about_prepared,
    check_prepared,
    load_prepared,
    save_prepared,
    set_aside_prepared,
)
from landsweep.orchestrator.storage.ledger.status import read_status, write_status
from landsweep.orchestrator.storage.ledger.writer import Hook, Writer
from landsweep.orchestrator.storage.store import Store

__all__ = [
    "FACTS",
    "Damage",
    "Findings",
    "Holder",
    "Hook",
    "KeySet",
    "Ledger",
    "NamedFile",
    "Store",
    "Writer",
    "about_prepared",
    "check_facts",
    "check_files",
    "check_prepared",
    "check_states",
    "driver_here",
    "driver_lives",
    "has_checksum",
    "load_prepared",
    "read_status",
    "save_prepared",
    "set_aside_prepared",
    "with_checksum",
    "write_status",
]
