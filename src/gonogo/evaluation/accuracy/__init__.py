"""How well a gauge separates good parts from defective ones."""
