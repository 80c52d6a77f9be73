"""Learning-rate transfer: the plan, the search for rates, curves and their optimum, coordinate checks, reports."""
