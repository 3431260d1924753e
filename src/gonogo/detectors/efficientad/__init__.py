"""EfficientAD: the detector, its teacher network and its autoencoder."""
