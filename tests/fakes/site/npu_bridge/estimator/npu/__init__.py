"""Estimator, its configuration, optimisers and hooks."""
