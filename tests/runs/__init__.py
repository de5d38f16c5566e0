"""Whole runs: cycles, trials, folders, checkpoints."""
