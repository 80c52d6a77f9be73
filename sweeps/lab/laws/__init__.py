"""Scaling laws: fitted to any table, with intervals, and predictions that say how far they reach.

    from sweeps.lab.laws.chinchilla import CHINCHILLA
    from sweeps.lab.laws.fit import fit

    found = fit(CHINCHILLA, table, columns={"D": "C / 6 / N"}, exclude=["loss top 5"], bootstrap=1000)
    found.parameters()                         # values, errors, intervals
    found.predict({"N": [7e9], "D": [1e12]})   # a table with bands and warnings

This package needs numpy, scipy and pandas, and nothing of the engine but its errors and its style of pictures.
`catalogue` lists all laws.
"""
