"""The benchmarks and the baseline they compare with."""
