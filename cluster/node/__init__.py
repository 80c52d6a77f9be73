"""What runs on the nodes of a job: Ray, the driver, the question what a node has."""
