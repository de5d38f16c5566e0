"""Runs: one experiment, from a plan to the rows that it leaves on disk."""
