"""Rows in, tables and figures and one self-contained HTML page out."""
