"""The science: one folder per kind of sweep, the lab that they share, and laws that fit any table."""
