"""How long a verdict takes, and how fast it could be."""
