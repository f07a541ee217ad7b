"""Importing Beam for a run on this machine, without the parts of it that speak to clouds and notebooks."""

from __future__ import annotations

import sys

from liteferry.sandbox.nursery import hidden

# Beam imports what it finds of these, and does without what it does not find. Together they are more than half of its import.
# LiteFerry reads stores by drivers of its own.
_UNUSED = (
    "apache_beam.io.gcp.bigquery",
    "apitools",
    "google.cloud.bigquery",
    "google.cloud.storage",
    "IPython",
    "ipywidgets",
    "pandas",
    "pymongo",
)


def import_for_local_run() -> None:
    """Imports Beam if it is not there yet. Only for a process that runs nothing but LiteFerry: to code of others that it imports
    later, Beam looks as if what is hidden were not installed.
    """
    if "apache_beam" in sys.modules:
        return
    absent = [name for name in _UNUSED if name not in sys.modules]
    with hidden(absent):
        import apache_beam.options.pipeline_options  # noqa: F401
