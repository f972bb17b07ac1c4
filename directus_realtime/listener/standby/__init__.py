"""One active listener of several: the lease, and who waits for it."""
