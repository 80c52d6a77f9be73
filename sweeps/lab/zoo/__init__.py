"""Model zoos as data sets: plan, files of weights, reader, split, permutations, card, export, import.

The reader (`sweeps.zoo.Zoo`) needs nothing of the engine but the files that it has written.
"""
