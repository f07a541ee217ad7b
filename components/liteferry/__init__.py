"""LiteFerry: trained TensorFlow/Keras checkpoints in bulk -> SavedModel and TFLite variants, with proof that they compute
the same.

Importing this package imports neither Beam nor TensorFlow.
"""

from typing import TYPE_CHECKING, Any

from liteferry.errors import JobError, LiteFerryError, ModelError, Reason, ReasonCode, SamplesError, Stage, StorageError
from liteferry.version import __version__

if TYPE_CHECKING:
    from liteferry.commands.python.api import CallbackOptions, compare, export, export_callback, export_fleet
    from liteferry.pipeline.batch_export import BatchExport

_API = ("CallbackOptions", "compare", "export", "export_callback", "export_fleet")

__all__ = [
    "BatchExport",
    "CallbackOptions",
    "JobError",
    "LiteFerryError",
    "ModelError",
    "Reason",
    "ReasonCode",
    "SamplesError",
    "Stage",
    "StorageError",
    "__version__",
    "compare",
    "export",
    "export_callback",
    "export_fleet",
]


def __getattr__(name: str) -> Any:
    """Imports the slow parts on first use."""
    if name == "BatchExport":
        from liteferry.pipeline.batch_export import BatchExport

        return BatchExport
    if name in _API:
        from liteferry.commands.python import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
