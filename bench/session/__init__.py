"""A session: the runs that one command launches, from spec to stored results."""
