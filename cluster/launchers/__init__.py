"""Launchers: one file for each way to get a sweep to a cluster."""
