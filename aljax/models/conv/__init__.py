"""Convolutions: how each runs on each platform, the same arithmetic on all."""
