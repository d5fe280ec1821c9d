"""Results on disk: their form, their versions, and how they are written whole or not at all."""
