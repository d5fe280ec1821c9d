"""Access to the native operators."""
