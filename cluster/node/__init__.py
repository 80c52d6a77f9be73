"""What runs on the nodes of a job: Ray, the driver, and the probe that reports what a node has."""
