"""A project under git and DVC: its experiments, comparisons, recipes and new projects."""
