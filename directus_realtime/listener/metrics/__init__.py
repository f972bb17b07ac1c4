"""Counts of a listener, and the endpoint that serves them to Prometheus."""
