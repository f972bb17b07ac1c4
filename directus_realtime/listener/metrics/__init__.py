"""What a listener counts, and the endpoint where Prometheus reads it."""
