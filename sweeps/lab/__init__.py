"""The laboratory that the kinds share: data, models, training, directions."""
