"""The kind `transfer`: does the best learning rate carry over? Search for rates, curves, optima, coordinate checks."""
