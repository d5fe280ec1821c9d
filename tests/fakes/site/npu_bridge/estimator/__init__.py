"""The adapter's Python side."""
