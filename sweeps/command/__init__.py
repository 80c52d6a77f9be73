"""The kind `command`: any program, unchanged, swept over any axes."""
