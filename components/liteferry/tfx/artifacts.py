"""The artifact types of the component's channels: TFX's own where all of TFX is installed, else types of ours.

`ml-pipelines-sdk` alone has no standard artifacts: their classes exist but raise when instantiated. Ours declare no properties,
since Kubeflow takes none from custom types; their facts are in custom properties.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from tfx.types import artifact

IS_FULL_TFX = importlib.util.find_spec("tfx.extensions") is not None  # the module that the standard artifacts look for

# TFX's own names of custom properties, which Pusher and LatestBlessedModelStrategy read.
BLESSED_PROPERTY, MODEL_URI_PROPERTY, MODEL_ID_PROPERTY = "blessed", "current_model", "current_model_id"


class OwnModel(artifact.Artifact):
    """A SavedModel under `Format-Serving`, or many in folders of their names: `<model_id>/<version>`."""

    TYPE_NAME = "liteferry.Model"


class OwnExamples(artifact.Artifact):
    """Rows as files in `Split-<name>` folders; the custom property `split_names` is a JSON list of the names."""

    TYPE_NAME = "liteferry.Examples"


class OwnSchema(artifact.Artifact):
    """`schema.pbtxt`, a TensorFlow Metadata schema of the rows."""

    TYPE_NAME = "liteferry.Schema"


class OwnModelBlessing(artifact.Artifact):
    """A file BLESSED or NOT_BLESSED, and the custom property `blessed`, 1 or 0."""

    TYPE_NAME = "liteferry.ModelBlessing"


class TFLiteModels(artifact.Artifact):
    """`<model_id>/<variant>.tflite`, blessed variants of blessed models alone."""

    TYPE_NAME = "liteferry.TFLiteModels"


class Reports(artifact.Artifact):
    """fleet.json, fleet.parquet, index.html and each model's report.json, report.html, marker and evaluation."""

    TYPE_NAME = "liteferry.Reports"


def _standard(name: str, own: type[Any]) -> type[Any]:
    if not IS_FULL_TFX:
        return own
    from tfx.types import standard_artifacts

    found: type[Any] = getattr(standard_artifacts, name)
    return found


Model = _standard("Model", OwnModel)
Examples = _standard("Examples", OwnExamples)
Schema = _standard("Schema", OwnSchema)
ModelBlessing = _standard("ModelBlessing", OwnModelBlessing)
