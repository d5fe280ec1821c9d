"""Imports the libraries that warn about themselves once, before warnings are errors."""

from __future__ import annotations

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import google_crc32c  # noqa: F401
    import tensorflow.compat.v1 as tf

tf.logging.set_verbosity(tf.logging.ERROR)


@pytest.fixture(autouse=True)
def fresh_graph():
    """Gives every test an empty default graph."""
    tf.reset_default_graph()
