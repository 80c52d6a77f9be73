"""Files of one sweep, on disk or in an object store. The only package that imports obstore."""

from orchestrator.store.folder import Store, is_url

__all__ = ["Store", "is_url"]
