"""Suites that a kind or an executor must pass, and tools that kill; for other packages too."""
