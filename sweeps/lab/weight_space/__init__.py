"""Weight space: directions in it, networks moved along them, and what is evaluated there."""
