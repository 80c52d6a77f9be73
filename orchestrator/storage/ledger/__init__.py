"""The ledger: Parquet parts of rows and series that survive any kill, and the lock of the driver that writes them."""

from orchestrator.ledger.files import Kept, check_files, check_states
from orchestrator.ledger.keys import KeySet
from orchestrator.ledger.ledger import Findings, Ledger
from orchestrator.ledger.lock import Holder, driver_here, driver_lives
from orchestrator.ledger.parts import Damage
from orchestrator.ledger.prepared import (
    about_prepared,
    check_prepared,
    load_prepared,
    save_prepared,
    set_aside_prepared,
)
from orchestrator.ledger.status import read_status, write_status
from orchestrator.ledger.writer import Hook, Writer
from orchestrator.store import Store

__all__ = [
    "Damage",
    "Findings",
    "Holder",
    "Hook",
    "Kept",
    "KeySet",
    "Ledger",
    "Store",
    "Writer",
    "about_prepared",
    "check_files",
    "check_prepared",
    "check_states",
    "driver_here",
    "driver_lives",
    "load_prepared",
    "read_status",
    "save_prepared",
    "set_aside_prepared",
    "write_status",
]
