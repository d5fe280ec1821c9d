"""Results over time: an index of result folders, nightly series, and what changed in them."""
