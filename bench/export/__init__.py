"""Results and live runs as Prometheus metrics."""
