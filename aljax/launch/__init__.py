"""Starting: the command line, runs side by side, SLURM."""
