"""Collective operators."""
