"""What the service remembers: images, inspections, reviews, keys and activations, with the upgrades of its tables."""
