"""What the native library of the adapter does, on a CPU."""
