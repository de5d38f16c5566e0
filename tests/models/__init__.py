"""Networks, their layers and how weights start."""
