"""Units that are trainings: recipes out of params, packs out of units, rows and files out of trainings."""
