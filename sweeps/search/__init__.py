"""What the search kind is made of: its spec, trials as recipes, sessions, report, commands."""
