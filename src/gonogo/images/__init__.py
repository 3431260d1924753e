"""Decoding, colours and the prepared dataset."""
