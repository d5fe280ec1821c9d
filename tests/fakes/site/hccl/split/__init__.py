"""Gradient split."""
