"""Executors: where units are computed. The only file that imports ray is the folder ray."""
