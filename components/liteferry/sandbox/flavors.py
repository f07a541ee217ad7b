"""The kinds of sandbox process, and what each has imported before it is born."""

from __future__ import annotations

import enum


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
    "liteferry.config.job",  # unpickling a plan needs it
    "liteferry.evaluation.measure",
    "liteferry.samples.formats.parquet",
    "PIL.PngImagePlugin",  # thumbnails, and images among the samples
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
        "liteferry.exporting.export",
    ),
    Flavor.CLEAN: _EVERYWHERE,
    Flavor.METRICS: (
        "tensorflow",
        "tensorflow_model_analysis",
        "liteferry.config.job",
        "liteferry.evaluation.compute_metrics",
        "liteferry.evaluation.tfma.prediction_keys",
        "liteferry.evaluation.tfma.rows",
    ),
}

# Keras imports these where they are installed, for wrappers that no checkpoint has and for notebooks: a fifth of the time that
# its nursery takes to start. A child that imports them gets them.
NOT_PRELOADED = {Flavor.KERAS: ("sklearn", "IPython")}
