"""BERT pre-training on TensorFlow 1.15: the trainer whose speed `ascend-bert` measures."""
