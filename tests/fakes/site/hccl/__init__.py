"""Stand-in for HCCL's Python package."""
