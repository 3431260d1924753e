"""Scores of good parts turned into a threshold with its certificate, a probability, regions and a route."""
