"""What a results folder, spec or zoo of somebody else may try. One file per family of attacks."""
