"""What the harness itself costs while a run goes, and whether it changes what it measures."""
