"""Every image of a category looked at, given its role, and written as a dataset."""
