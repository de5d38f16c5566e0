"""Whole runs, tiny: pairing, resuming, falling back, stopping."""
