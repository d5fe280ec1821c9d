"""Data of BERT pre-training: text, tokens, masked instances, TFRecord files and the training input.

Everything here but `input_pipeline` runs without TensorFlow.
"""
