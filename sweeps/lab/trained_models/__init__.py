"""Trained models read back: rows, weights, modules, data sets; of any sweep that keeps weights."""
