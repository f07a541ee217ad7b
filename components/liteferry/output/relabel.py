"""Writes the job's changed `metadata` into a finished model, its report and its digests. Nothing is loaded or run: metadata lies
in a file of its own, which the graph names and does not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from liteferry import lenient, storage
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.output import model_folder
from liteferry.output.finished import plain_text
from liteferry.output.publish import publish, take_artifact
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.storage import beneath
from liteferry.storage.layout import BLESSED

_ASSET = "assets/metadata.json"


def relabelled(plan: ModelPlan, older: lenient.Report) -> dict[str, Any] | None:
    """Publishes a model again with the plan's metadata, under the plan's version number. Files that are not touched keep their
    bytes and digests.

    Args:
      plan: numbered, and equal to the one of the earlier report but for its metadata.
      older: the report in the model's folder, complete.

    Returns:
      The fleet table's entry; None where the folder is not as a run leaves it, so that the model must be exported again.
    """
    (plan,) = begin_attempt([plan])
    staging = plan.staging_directory()
    storage.remove_tree(staging)
    os.makedirs(staging)
    files = lenient.mapping(older.get("files"))
    saved = lenient.mapping(older.get("saved_model"))
    own, kept = f"saved_model/{plan.version}", _kept(plan, older)
    new_files = {}
    for name, new_name in _names(files, lenient.text(saved.get("path")) or "", own, kept):
        take_artifact(plan, name, new_name)
        new_files[new_name] = files[name]
    report = {**older, "metadata": plain_text(plan.metadata), "version": plan.version, "kept_versions": kept, **_digests(plan)}
    if saved:
        asset = f"{own}/{_ASSET}"
        grown = _write_asset(staging, asset, plan.metadata) if _is_as_listed(staging, asset, new_files) else None
        if grown is None:
            return None
        content = beneath.read_bytes(staging, asset)
        new_files[asset] = {"sha256": storage.digest(os.path.join(staging, asset)), "bytes": len(content)}
        report["saved_model"] = {**saved, "path": own, "bytes": (lenient.integer(saved.get("bytes")) or 0) + grown}
    return dict(publish(plan, {**report, "files": dict(sorted(new_files.items()))}))


def _digests(plan: ModelPlan) -> dict[str, Any]:
    return {
        "recipe_digest": plan.recipe_digest,
        "work_digest": plan.work_digest,
        "unlabelled_digest": plan.unlabelled_digest,
        "export_digest": plan.export_digest,
    }


def _kept(plan: ModelPlan, older: lenient.Report) -> list[int]:
    """The earlier versions that the model keeps: with the one that is relabelled, if it was blessed, as many as the job says."""
    before = [number for number in map(lenient.integer, lenient.listing(older.get("kept_versions"))) if number is not None]
    if model_folder.marker_of(older) != BLESSED or plan.keep_versions < 2:
        return []
    current = lenient.integer(older.get("version"))
    numbers = {*before, *([current] if current is not None else [])} - {plan.version}
    return sorted(numbers)[-(plan.keep_versions - 1) :]


def _names(files: Mapping[str, Any], was: str, own: str, kept: list[int]) -> Iterator[tuple[str, str]]:
    """(name, new name) of every file that the new folder has; the SavedModel's have two where it is kept as well."""
    for name in files:
        if was and name.startswith(f"{was}/"):
            yield name, f"{own}{name[len(was) :]}"
        if not name.startswith("saved_model/") or name.startswith(tuple(f"saved_model/{number}/" for number in kept)):
            yield name, name


def _is_as_listed(staging: str, name: str, files: Mapping[str, Any]) -> bool:
    """Whether a file is the one that the report lists: what somebody changed since is not vouched for by a new digest."""
    try:
        return storage.digest(os.path.join(staging, name)) == lenient.mapping(files.get(name)).get("sha256")
    except StorageError:
        return False


def _write_asset(staging: str, name: str, metadata: Mapping[str, Any]) -> int | None:
    """Writes the SavedModel's file with other metadata; returns by how many bytes it grew, None where it cannot be read."""
    path = os.path.join(staging, name)
    try:
        before = beneath.read_bytes(staging, name)
        told = parse(before)
    except (StorageError, ValueError):
        return None
    if not isinstance(told, dict):
        return None
    os.remove(path)  # a hard link to the published file, which must not change
    with open(path, "x", encoding="utf-8") as file:
        json.dump({**told, "metadata": dict(metadata)}, file, indent=2, sort_keys=True)
    return os.path.getsize(path) - len(before)
