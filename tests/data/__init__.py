"""Datasets: folders, archives, the embedded images."""
