"""Strategies against plain definitions, and what every one of them owes the loop."""
