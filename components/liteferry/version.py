"""Versions, in one place. `setup.py` reads this file without importing it."""

__version__ = "0.2.0"
REPORT_SCHEMA_VERSION = 1
RULES_VERSION = 2
"""Increases when the rules of the verdict refuse artifacts that they blessed before, see docs/upgrading.md. Reports of 0.1.0
have no number and count as 1.
"""
