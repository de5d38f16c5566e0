"""The command line, SLURM, runs side by side."""
