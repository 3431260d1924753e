"""A detector fitted on images of one category, inspected by one path, and saved."""
