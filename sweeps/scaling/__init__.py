"""Scaling-law studies: sizes and budgets, the plan, sessions, fits of what was measured, figures, forecasts."""
