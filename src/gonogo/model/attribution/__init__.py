"""What a score is made of, by features and by gradients. Needs the fitted model, and so torch."""
