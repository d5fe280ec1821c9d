"""Operators of one argument: gelu, gelu_grad."""

from npu_bridge.helper import helper

npu_unary_ops = helper.get_gen_ops()
