"""The gauge as a service: HTTP before a bundle, and every inspection kept before it is answered. Extra `serve`."""
