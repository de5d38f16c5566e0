"""Devices, processes, clocks, memory, signals."""
