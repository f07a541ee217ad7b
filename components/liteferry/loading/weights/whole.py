"""Reports a whole-model file whose arrays do not fit its own architecture, with the same error as for weights-only files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode
from liteferry.loading.weights import legacy, new_layout

# The libraries' messages for a file with more, fewer or other arrays than a layer has.
_MISCOUNTED = re.compile(r"(Layer|Weight) count mismatch|Shape mismatch in |objects? could not be loaded")


def as_mismatch(error: ModelError, place: str, facts: CheckpointFacts, build: Callable[[], Any]) -> ModelError:
    """WEIGHTS_MISMATCH with both lists where a library could not load a file because of its arrays; `error` itself for all else.

    Args:
      error: the library's error. place: the file. facts: of it.
      build: makes the model of its architecture, see `without_weights`.
    """
    if error.reason.code is not ReasonCode.LOAD_FAILED or not _MISCOUNTED.search(error.reason.message):
        return error
    try:
        model = build()
        if facts.kind is Kind.H5_MODEL:
            legacy.refuse_left_over(place, place, model)
        else:
            new_layout.refuse_differences(place, facts, place, model)
    except ModelError as found:
        return found
    except Exception:  # noqa: BLE001  # the architecture cannot be built either: keep the library's error
        return error
    return error


def without_weights(facts: CheckpointFacts, config: Mapping[str, Any], library: Any, objects: Mapping[str, Any]) -> Any:
    """Builds the model of a file's architecture with the library; `objects`: the user's code for it."""
    if facts.kind is not Kind.H5_MODEL:
        return library.saving.deserialize_keras_object(dict(config), custom_objects=dict(objects))
    if library.__name__ == "tf_keras":
        return library.models.model_from_json(json.dumps(config), custom_objects=dict(objects))
    from keras.src.legacy.saving import saving_options, saving_utils  # as Keras's own .h5 reader does

    with saving_options.keras_option_scope(use_legacy_config=True):
        return saving_utils.model_from_config(dict(config), custom_objects=dict(objects))
