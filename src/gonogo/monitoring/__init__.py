"""Whether a certificate still holds: tests of what a gauge sees that may be looked at after every part."""
