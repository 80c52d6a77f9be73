"""Suites that a kind, an executor or a ledger must pass, and tools that kill; for other packages too."""
