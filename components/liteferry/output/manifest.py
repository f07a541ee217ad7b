"""The files of a published model with their sizes and digests: written into its report, and compared with
the disk by `verify`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.sandbox.disk import odd_entries


def files_of(directory: str, beside: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Relative path -> {sha256, bytes} of every artifact below a model's folder; empty where there is no folder. Raises
    StorageError, also for a folder with a link in it: LiteFerry makes none, and its target was not judged.

    Args:
      beside: what is made from the report or lies beside it, so that the report cannot list it: `layout.beside`.
    """
    if not storage.exists(directory):
        return {}
    if not storage.is_remote(directory):
        for path, what in odd_entries(storage.require_local(directory)):
            raise StorageError(f"{path} is {what}: a model's folder may hold only files and folders")
    return {
        name: {
            "sha256": storage.digest(storage.join(directory, name)),
            "bytes": storage.size_bytes(storage.join(directory, name)),
        }
        for name in storage.files_under(directory)
        if name not in beside
    }


def problems(directory: str, files: Mapping[str, Any], beside: Collection[str]) -> list[str]:
    """How a model's folder differs from its report, a sentence for each file. `beside`: as in `files_of`."""
    found = files_of(directory, beside)
    sentences = [f"{name} is gone" for name in files if name not in found]
    sentences += [f"{name} is not listed in report.json, so it was not judged" for name in found if name not in files]
    for name in found.keys() & files.keys():
        expected = files[name] if isinstance(files[name], Mapping) else {}
        if found[name]["bytes"] != expected.get("bytes"):
            sentences.append(f"{name} has {found[name]['bytes']:,} bytes, the report says {expected.get('bytes')}")
        elif found[name]["sha256"] != expected.get("sha256"):
            sentences.append(f"{name} is not the file that was judged (its sha256 differs)")
    return sorted(sentences)
