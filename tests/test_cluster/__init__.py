"""Grids on SLURM."""
