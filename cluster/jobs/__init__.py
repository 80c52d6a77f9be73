"""Jobs: submit, list, follow, read the output of, cancel."""
