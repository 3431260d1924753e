"""What a gauge does to images that were changed in known ways."""
