"""The kind `zoo`: model zoos as data sets; their plan, branches, audit, card, export, and comparisons of optimizers.

The reader, `Zoo`, is in `sweeps/lab/trained_models`: it serves every kind that trains.
"""
