"""The fitter: from tables to parameters with intervals, for any law."""
