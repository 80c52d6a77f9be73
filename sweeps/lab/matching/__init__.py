"""Which hidden units of a network can change places, and how those of two networks are brought together."""
