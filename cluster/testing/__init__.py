"""Suites that launchers of other packages can inherit."""
