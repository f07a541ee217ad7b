"""What the pages share: scripts, copied once into OUT/assets.

Their names hold a digest, so a page of an older run keeps its own.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import posixpath

from liteferry import storage
from liteferry.storage import beneath

FOLDER = "assets"


@functools.cache
def asset_names() -> dict[str, str]:
    """File name in the package -> file name under OUT/assets: `charts.js` -> `charts.0a1b2c3d.js`. Licences keep theirs."""
    folder = importlib.resources.files("liteferry.report") / "assets"
    names = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".txt"):
            names[entry.name] = entry.name
        elif entry.name.endswith(".js"):
            stem, suffix = posixpath.splitext(entry.name)
            names[entry.name] = f"{stem}.{hashlib.sha256(entry.read_bytes()).hexdigest()[:8]}{suffix}"
    return names


def asset_path(name: str) -> str:
    """Where an asset lies, relative to the output folder. Raises KeyError for one that is not there."""
    return f"{FOLDER}/{asset_names()[name]}"


def write_assets(out: str) -> None:
    """Copies into OUT/assets what is not there yet. Raises StorageError when it cannot be written."""
    beneath.refuse_links(out)
    folder = importlib.resources.files("liteferry.report") / "assets"
    there = set(storage.list_directory(storage.join(out, FOLDER)))
    for name, given in asset_names().items():
        if given not in there:
            beneath.write_bytes(out, f"{FOLDER}/{given}", (folder / name).read_bytes())
