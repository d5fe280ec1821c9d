"""Hands out the native operators."""

from npu_bridge._native import operators

npu_bridge_handle = operators
version = "v1.15.0"


def get_gen_ops():
    """Returns the module of native operators."""
    return npu_bridge_handle
