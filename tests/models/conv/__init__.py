"""How convolutions run on each platform."""
