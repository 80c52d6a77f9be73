"""The drill: a synthetic sweep whose workers, nodes and driver are killed, and its verdict."""
