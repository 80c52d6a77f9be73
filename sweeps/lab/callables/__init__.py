"""Callables of the user: imported, checked, called, and their results as outcomes."""
