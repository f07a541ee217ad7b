"""Versions, in one place. `setup.py` reads this file without importing it."""

__version__ = "0.2.0"
REPORT_SCHEMA_VERSION = 1
RULES_VERSION = 2
"""Grows when the rules of the verdict would refuse what they have blessed: see docs/upgrading.md. 0.1.0 had 1, and no number."""
