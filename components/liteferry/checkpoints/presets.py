"""Puts a KerasHub preset of a task together as the `.keras` archive of that task.

`task.save_to_preset(FOLDER)` writes the task's architecture (`task.json`), the weights of its backbone (`model.weights.h5`, or
shards) and, apart from them, those of its head (`task.weights.h5`). A preset without a task is that of a backbone, and has the
layout of an unzipped archive.

The preprocessor and its tokenizer are left out: they turn texts into the model's inputs, and belong to no call of the model.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import Any

from liteferry.checkpoints import gathered, scanned_copy
from liteferry.checkpoints.foreign import unsupported
from liteferry.checkpoints.keras_names import snake_case
from liteferry.checkpoints.links import LinkRule
from liteferry.json_records import parse

_TASK, _HEAD, _METADATA = "task.json", "task.weights.h5", "metadata.json"
_BACKBONE = ("model.weights.h5", "model.weights.json")
_MOST_JSON_BYTES = 256 * 2**20
_FIX = "load it and save the whole model, `keras_hub.models.Task.from_preset(FOLDER).save('model.keras')`, and name that file"


def is_task(folder: str) -> bool:
    """Whether a folder is the preset of a task, with weights."""
    has_weights = any(os.path.lexists(os.path.join(folder, name)) for name in _BACKBONE)
    return has_weights and os.path.lexists(os.path.join(folder, _TASK))


def whole_task(path: str, folder: str, rule: LinkRule) -> str:
    """Makes the archive.

    Args:
      path: as the job names the preset, for errors.
      folder: where it lies, without links.
      rule: where links in it may lead.

    Raises:
      ModelError: LOAD_UNSUPPORTED for a task that does not say what its backbone is.
      ValueError: its files are no JSON.
    """
    task, metadata = (_json(path, folder, name, rule) for name in (_TASK, _METADATA))
    try:
        settings = {**task["config"], "preprocessor": None}
        backbone = str(settings["backbone"]["class_name"])
    except (KeyError, TypeError) as error:
        raise unsupported(path, "a KerasHub preset whose task.json names no backbone", _FIX) from error
    weights = _weights(path, folder, f"layers/{snake_case(backbone)}", rule)
    target = os.path.join(scanned_copy.private_folder(), "task.keras")
    with zipfile.ZipFile(target, "x") as archive:
        archive.writestr("config.json", json.dumps({**task, "config": settings}))
        archive.writestr("metadata.json", json.dumps(metadata))
        with scanned_copy.opened(weights) as source, archive.open("model.weights.h5", "w", force_zip64=True) as out:
            while piece := source.read(2**26):
                out.write(piece)
    return target


def _json(path: str, folder: str, name: str, rule: LinkRule) -> Any:
    with scanned_copy.opened(gathered.readable_part(path, folder, name, rule)) as file:
        return parse(file.read(_MOST_JSON_BYTES))


def _weights(path: str, folder: str, place_of_backbone: str, rule: LinkRule) -> str:
    """The weights of the head with those of the backbone where an archive of the task has them: under the backbone's class."""
    import h5py

    target = os.path.join(scanned_copy.private_folder(), "task.weights.h5")
    single, sharded = (os.path.join(folder, name) for name in _BACKBONE)
    if os.path.lexists(single):
        backbone = gathered.readable_part(path, folder, _BACKBONE[0], rule)
    else:
        backbone = gathered.merged(path, sharded, rule)
    with h5py.File(target, "w") as whole:
        if os.path.lexists(os.path.join(folder, _HEAD)):
            gathered.merge_file(path, gathered.readable_part(path, folder, _HEAD, rule), whole)
        gathered.merge_file(path, backbone, whole.require_group(place_of_backbone))
    return target
