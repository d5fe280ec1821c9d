"""Readers of the published file formats of the downstream tasks; none needs TensorFlow."""
