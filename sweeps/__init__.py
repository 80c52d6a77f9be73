"""The science: one file per kind of sweep, and the lab that they share."""
