"""The engine: specs, units, workers, the ledger. It knows no torch and no science."""
