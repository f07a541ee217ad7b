"""The two kinds of sandbox process, and what each has imported before it is born."""

from __future__ import annotations

import enum


class Flavor(str, enum.Enum):
    """`KERAS`: loads checkpoints, may run the user's code. `CLEAN`: plain TensorFlow and LiteRT, cannot import any Keras."""

    KERAS = "keras"
    CLEAN = "clean"


PRELOAD = {
    Flavor.KERAS: (
        "tensorflow",
        "keras",
        "tf_keras",
        "h5py",
        "pyarrow.parquet",
        "ai_edge_quantizer.quantizer",
        "ai_edge_quantizer.recipe",
        "ai_edge_litert.interpreter",
        "ai_edge_litert.schema_py_generated",
        "liteferry.export",
        "liteferry.evaluate",
    ),
    Flavor.CLEAN: ("tensorflow", "pyarrow.parquet", "ai_edge_litert.interpreter", "liteferry.evaluate"),
}
