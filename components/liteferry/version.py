"""Versions, in one place. `setup.py` reads this file without importing it."""

__version__ = "0.1.0"
REPORT_SCHEMA_VERSION = 1
