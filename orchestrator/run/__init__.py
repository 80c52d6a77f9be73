"""A run: the loop over planner, schedule, workers and ledger, and what it prepares and shows."""
