"""What stands around the model: model function, hooks, checkpoints, input, log set-up."""
