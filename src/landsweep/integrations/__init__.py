"""The libraries that people train with, in a sweep: one module for each, imported by whoever has the library."""
