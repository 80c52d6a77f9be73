"""The command line: one front for the engine, and for what kinds and clusters add to it."""
