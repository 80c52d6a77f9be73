"""Executors: where units are computed, in this process or on Ray. Only the folder `ray` imports ray."""
