"""The files of a kit, and the names of its arrays."""

from __future__ import annotations

import json
import os
import urllib.parse
from typing import Any

from liteferry.errors import JobError

MODEL, MANIFEST, ROWS, NPZ, INSTRUCTIONS = "model.tflite", "kit.json", "rows.json", "rows.npz", "README.md"
ONE_ROW = "model_one_row.tflite"  # the same with a batch of one, for runtimes that take no free sizes
INPUTS, EXPECTED, RAW = "inputs", "expected", "raw"
VERSION = 1


def array_path(folder: str, name: str) -> str:
    """The .npy file name for an input or output, safe for any characters in the name."""
    return os.path.join(folder, f"{urllib.parse.quote(name, safe='')}.npy")


def raw_path(row: int, name: str) -> str:
    """The path, in a kit, of one row's input as the raw bytes that the .tflite file takes."""
    return os.path.join(RAW, f"{row:03d}", f"{urllib.parse.quote(name, safe='')}.bin")


def read_manifest(kit: str) -> dict[str, Any]:
    """Raises JobError if the folder is not a kit."""
    path = os.path.join(kit, MANIFEST)
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except (OSError, ValueError) as error:
        raise JobError(
            [f"{path}: is not a kit's manifest ({error}); `liteferry kit` makes one"], source="command line"
        ) from error
    if found.get("kit") != VERSION or not isinstance(found.get("outputs"), list):
        raise JobError([f"{path}: is not a kit's manifest in a version that this LiteFerry reads"], source="command line")
    return found
