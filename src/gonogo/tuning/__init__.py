"""Options chosen by good parts alone, within the time that a verdict may take."""
