"""LiteFerry: trained TensorFlow/Keras checkpoints in bulk -> SavedModel and TFLite variants, with proof that they compute
the same.

Importing this package imports neither Beam nor TensorFlow.
"""

from liteferry.errors import JobError, LiteFerryError, ModelError, Reason, ReasonCode, SamplesError, Stage, StorageError
from liteferry.version import __version__

__all__ = [
    "JobError",
    "LiteFerryError",
    "ModelError",
    "Reason",
    "ReasonCode",
    "SamplesError",
    "Stage",
    "StorageError",
    "__version__",
]
