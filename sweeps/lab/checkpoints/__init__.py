"""Files of weights: stacked by us, or state dicts and published zoos of others."""
