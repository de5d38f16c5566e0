"""Which pictures a page shows, and the words beneath each."""
