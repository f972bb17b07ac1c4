"""One active listener of several: the lease, and the candidates for it."""
