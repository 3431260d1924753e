"""The gauge as an HTTP service, which stores every inspection before it answers. Needs the extra `serve`."""
