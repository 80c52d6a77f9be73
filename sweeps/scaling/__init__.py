"""The kind `scaling`: scaling-law studies; sizes and budgets, the plan, sessions, fits of the rows, predictions."""
