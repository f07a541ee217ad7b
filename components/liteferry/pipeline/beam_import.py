"""Imports Beam for a run on this machine without its parts for clouds and notebooks."""

from __future__ import annotations

import sys

from liteferry.sandbox.nursery import hidden

# Beam imports these if it finds them, and works without them. Together they take more than half of its import time. LiteFerry
# reads stores by drivers of its own.
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

# Beam imports IPython at each transform to find out whether it runs in a notebook; this process never does.
_NEVER_USED = "IPython"


def import_for_local_run() -> None:
    """Imports Beam if it is not imported yet. Only for a process that runs nothing but LiteFerry: for other code that is
    imported later, the hidden parts appear as not installed.
    """
    if "apache_beam" in sys.modules:
        return
    absent = [name for name in _UNUSED if name not in sys.modules]
    with hidden(absent):
        import apache_beam.options.pipeline_options  # noqa: F401
    if _NEVER_USED in absent:
        sys.modules[_NEVER_USED] = None  # type: ignore[assignment]  # as if it were not installed
