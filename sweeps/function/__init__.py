"""The kind `function`: any callable, swept over any axes."""
