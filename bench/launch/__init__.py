"""From a spec to running rank processes: plan, start, watch, stop."""
