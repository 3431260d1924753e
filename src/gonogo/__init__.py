"""gonogo: a go/no-go gauge for images. It learns good parts, rejects what differs and says how sure it is."""

__version__ = "0.1.0"
