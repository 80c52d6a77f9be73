"""How a sweep gets to a cluster: launchers, records of jobs, what runs on the nodes, the drill, site files."""
