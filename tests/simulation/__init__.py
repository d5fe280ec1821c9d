"""Simulations that hold the statistics of bench/measure against a known truth."""
