"""A local, read-only web application over results folders: `landsweep ui`."""
