"""How well the boxes that a gauge finds lie on the labelled ones."""
