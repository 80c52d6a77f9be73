"""Model zoos as data sets: plan, files of weights, reader, split, permutations, card, export, import.

The reader (`landsweep.sweeps.zoo.kind.Zoo`) starts no sweep and no worker: it reads the files that a sweep has left.
"""
