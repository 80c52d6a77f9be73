"""Where sweeps run: launchers and site files."""
