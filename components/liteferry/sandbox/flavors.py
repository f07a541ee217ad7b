"""The kinds of sandbox process, and the modules that each imports before it forks children."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Flavor(str, enum.Enum):
    """`KERAS`: loads checkpoints, may run the user's code. `CLEAN`: plain TensorFlow and LiteRT, cannot import any Keras.
    `METRICS`: TFMA, for jobs with task metrics; runs the user's code only where a metric names its module.
    """

    KERAS = "keras"
    CLEAN = "clean"
    METRICS = "metrics"


_EVERYWHERE = (
    "tensorflow",
    "pyarrow.parquet",
    "ai_edge_litert.interpreter",
    "ai_edge_litert.schema_py_generated",
    "PIL.PngImagePlugin",  # for thumbnails, and for images in samples
)

PRELOAD = {
    Flavor.KERAS: (
        *_EVERYWHERE,
        "keras",
        "tf_keras",
        "tf_keras.api._v2.keras",
        "h5py",
        "ai_edge_quantizer.quantizer",
        "ai_edge_quantizer.recipe",
        "tensorflow_serving.apis.prediction_log_pb2",
    ),
    Flavor.CLEAN: _EVERYWHERE,
    Flavor.METRICS: ("tensorflow", "tensorflow_model_analysis"),
}
_OURS: dict[Flavor, dict[str, None]] = {flavor: {} for flavor in Flavor}

# Keras imports these where they are installed, for wrappers that no checkpoint has and for notebooks: a fifth of the time that
# its nursery takes to start. A child that imports them gets them.
NOT_PRELOADED = {Flavor.KERAS: ("sklearn", "IPython")}


def preload(*modules: str, flavors: Sequence[Flavor]) -> None:
    """Adds LiteFerry modules that a nursery of these flavors imports before it forks, besides the libraries in `PRELOAD`.

    The module of a unit of work calls this when it is imported. A nursery that was started earlier works as well: its children
    import the module themselves, which takes longer.
    """
    for flavor in flavors:
        _OURS[flavor].update(dict.fromkeys(modules))


def preloaded(flavor: Flavor) -> tuple[str, ...]:
    """The modules that were passed to `preload` so far, in order."""
    return tuple(_OURS[flavor])
