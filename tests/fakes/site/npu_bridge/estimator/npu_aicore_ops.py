"""Operators that came after GELU: fast_gelu."""

from npu_bridge.helper import helper

npu_aicore_ops = helper.get_gen_ops()
