"""The kind `search`: settings chosen by Optuna; its spec, trials as recipes or calls, sessions, report, commands."""
