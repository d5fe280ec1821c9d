"""Learning-rate schedule, optimiser, clipping, loss scale, and the training step made of them."""
