"""Hostile inputs, counted: `python -m tests.fuzz --inputs 25000`."""
