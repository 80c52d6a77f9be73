"""Files of one sweep, on disk or in an object store. The only package that imports obstore."""

from landsweep.orchestrator.storage.store.folder import Store
from landsweep.orchestrator.storage.store.local import NO_FILE
from landsweep.orchestrator.storage.store.places import folder_here, is_url, views

__all__ = ["NO_FILE", "Store", "folder_here", "is_url", "views"]
