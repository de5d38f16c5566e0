"""The machine: devices and processes, clocks, memory, signals, the terminal."""
