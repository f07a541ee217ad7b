"""Fills the component's output channels from a finished run's folder. Works with paths only, without TFX.

The run's folder stays, so that the next execution reuses its results. Artifacts are copies, so that a later execution never
changes an earlier one's outputs.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import LiteFerryError
from liteferry.report.shipped import shipped
from liteferry.storage import layout
from liteferry.storage.layout import BLESSED, NOT_BLESSED

_SERVING = "Format-Serving"  # where TFX's Pusher and InfraValidator look for a SavedModel
_ARTIFACT_FOLDERS = ("saved_model", "tflite")
_OF_THE_FLEET = (layout.FLEET_FACTS, layout.FLEET_TABLE, layout.FLEET_PARTS, layout.INDEX, layout.ASSETS)
_AT_ONCE = 16  # copies wait for storage, not for processors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of the fleet. Blessed: there is at least one model, and every model is blessed."""

    model_count: int
    blessed_count: int
    failed_count: int

    @property
    def is_blessed(self) -> bool:
        return 0 < self.model_count == self.blessed_count

    @property
    def marker(self) -> str:
        return BLESSED if self.is_blessed else NOT_BLESSED

    def in_words(self) -> str:
        return f"{self.blessed_count} of {self.model_count} models blessed, {self.failed_count} failed"


def verdict_of(facts: Mapping[str, Any], *, status: int) -> Verdict:
    """From the facts of a fleet, counted model by model.

    Raises:
      LiteFerryError: when the run's exit status says something else, as it does where a checkpoint has no report.
    """
    statuses = [model["status"] for model in facts["models"]]
    verdict = Verdict(model_count=len(statuses), blessed_count=statuses.count("blessed"), failed_count=statuses.count("failed"))
    if verdict.is_blessed != (status == 0):
        raise LiteFerryError(f"exit status {status}, but {verdict.in_words()}: the fleet is not whole; run the pipeline again")
    return verdict


def fill(facts: Mapping[str, Any], out: str, *, exported_models: str, tflite_models: str, reports: str) -> None:
    """Copies a run's files to the output artifacts; SavedModels and variants only if they are blessed and their model is.

    Raises:
      StorageError: when a file cannot be copied.
    """
    trees = [
        *saved_models(facts, exported_models),
        *((path, storage.join(tflite_models, model_id, path.rpartition("/")[2])) for model_id, path in variants(facts)),
        *((path, storage.join(reports, path)) for path in report_paths(facts, out)),
    ]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(lambda tree: _copy(storage.join(out, tree[0]), tree[1]), trees):
            pass  # raises the first copy error


def saved_models(facts: Mapping[str, Any], target: str) -> list[tuple[str, str]]:
    """(path below OUT, where it goes) of each blessed SavedModel: where Pusher looks for it if the fleet is one model, else below
    the model's name with its version, as TensorFlow Serving takes a base path.
    """
    blessed = [model for model in shipped(facts) if model["saved_model"]]
    if len(facts["models"]) == 1:
        return [(model["saved_model"]["path"], storage.join(target, _SERVING)) for model in blessed]
    paths = [(model["model_id"], str(model["saved_model"]["path"])) for model in blessed]
    return [(path, storage.join(target, model_id, path.rpartition("/")[2])) for model_id, path in paths]


def variants(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(model_id, path below OUT) of each blessed variant of a blessed model."""
    return [
        (model["model_id"], variant["path"])
        for model in shipped(facts)
        for variant in model["variants"].values()
        if variant["status"] == "blessed" and variant["path"]
    ]


def report_paths(facts: Mapping[str, Any], out: str) -> list[str]:
    """Below OUT: the fleet's files, and all but the artifacts of each model in it, and of attempts that are held back; nothing
    of models that an earlier job left.
    """
    paths = [name for name in _OF_THE_FLEET if storage.exists(storage.join(out, name))]
    for model in facts["models"]:
        for folder in (storage.join(above, model["model_id"]) for above in (layout.MODELS, layout.ATTEMPTS)):
            names = storage.list_directory(storage.join(out, folder))
            paths += [storage.join(folder, name) for name in names if name not in _ARTIFACT_FOLDERS]
    return paths


def _copy(source: str, target: str) -> None:
    """Copies a file or a tree to a new place, between any two stores."""
    if not storage.is_remote(target):
        storage.download(source, target)
    elif not storage.is_remote(source):
        storage.upload(source, target)
    else:
        with tempfile.TemporaryDirectory() as folder:
            storage.download(source, os.path.join(folder, "copy"))
            storage.upload(os.path.join(folder, "copy"), target)
