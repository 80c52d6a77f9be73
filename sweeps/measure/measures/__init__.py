"""Measures: quantities of stored models, one file each."""
