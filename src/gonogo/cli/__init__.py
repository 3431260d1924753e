"""The command line: `main.py` runs a command, `commands/` has a module for each."""
