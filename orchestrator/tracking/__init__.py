"""Tracking: a sweep as MLflow shows it, made from its rows."""
