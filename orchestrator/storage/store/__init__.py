"""Files of one sweep, on disk or in an object store. The only package that imports obstore."""

from orchestrator.store.folder import Store
from orchestrator.store.places import folder_here, is_url, views

__all__ = ["Store", "folder_here", "is_url", "views"]
