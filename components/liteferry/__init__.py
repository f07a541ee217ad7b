"""LiteFerry: trained TensorFlow/Keras checkpoints in bulk -> SavedModel and TFLite variants, with proof that they compute
the same.

Importing this package imports neither Beam nor TensorFlow.
"""

from typing import TYPE_CHECKING

from liteferry.errors import JobError, LiteFerryError, ModelError, Reason, ReasonCode, SamplesError, Stage, StorageError
from liteferry.types import on_first_use
from liteferry.version import __version__

if TYPE_CHECKING:
    from liteferry.commands.python.api import CallbackOptions, compare, export, export_callback, export_fleet
    from liteferry.pipeline.batch_export import BatchExport

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


__getattr__ = on_first_use(
    __name__,
    {
        "BatchExport": "pipeline.batch_export",
        **dict.fromkeys(("CallbackOptions", "compare", "export", "export_callback", "export_fleet"), "commands.python.api"),
    },
)
