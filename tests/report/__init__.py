"""Reports of made-up runs whose answers are known."""
