"""Verdicts: compare, the gate, calibration, change points; the statistics work on plain numbers."""
