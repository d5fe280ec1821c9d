"""Device backends: everything of the trainer that depends on where it runs."""
