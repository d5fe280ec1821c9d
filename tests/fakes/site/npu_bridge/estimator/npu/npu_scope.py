"""Scopes that mark operators for the device's compiler."""

import contextlib

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import attr_value_pb2


def _mark(**attributes):
    values = {}
    for name, value in attributes.items():
        kind = {"b": value} if isinstance(value, bool) else {"s": str(value).encode()}
        values[name] = attr_value_pb2.AttrValue(**kind)
    return tf.get_default_graph()._attr_scope(values)


@contextlib.contextmanager
def without_npu_compile_scope():
    """Operators inside stay on the host."""
    with _mark(_without_npu_compile=True):
        yield


@contextlib.contextmanager
def keep_dtype_scope():
    """Operators inside keep their type in any precision mode."""
    with _mark(_keep_dtype=True):
        yield


@contextlib.contextmanager
def npu_variable_scope(placement):
    """Variables inside are placed as said."""
    with _mark(_variable_placement=placement):
        yield


@contextlib.contextmanager
def npu_stage_scope(stage):
    """Operators inside belong to a stage of a pipeline."""
    with _mark(_stage_level=stage):
        yield
