"""Faults made for real, by the hundred: `python -m tests.chaos --help`."""
