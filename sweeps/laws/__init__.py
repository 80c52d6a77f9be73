"""Scaling laws: fitted to any table, with intervals, and predictions that say how far they reach.

    from landsweep.sweeps.laws.chinchilla import CHINCHILLA
    from landsweep.sweeps.laws.fitting.fit import fit

    fitted = fit(CHINCHILLA, table, columns={"D": "C / 6 / N"}, exclude=["loss top 5"], bootstrap=1000)
    fitted.parameters()                         # values, errors, intervals
    fitted.predict({"N": [7e9], "D": [1e12]})   # a table with bands and warnings

A law is one file with a formula; `base` says what a law is, `catalogue` lists them all, and both need only numpy and
scipy. All other files are the fitter's, which reads tables by pandas and writes text and pictures by the engine's.
"""
