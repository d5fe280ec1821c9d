"""Where ranks run: backends by name, chosen once and never swapped in silence."""
