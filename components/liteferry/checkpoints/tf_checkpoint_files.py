"""Files of TensorFlow checkpoints, recognised by name: an index, its data files, and the `checkpoint` file of a folder."""

from __future__ import annotations

import os
import re


def is_index(path: str) -> bool:
    """Whether a file is the index of a checkpoint."""
    if not path.endswith(".index") or os.path.getsize(path) < len(_TABLE_MAGIC):
        return False
    with open(path, "rb") as file:
        file.seek(-len(_TABLE_MAGIC), os.SEEK_END)
        return file.read() == _TABLE_MAGIC


def latest_prefix(directory: str) -> str | None:
    """The prefix that a folder's `checkpoint` file names. Only its last part is used: the folder may have been moved."""
    state = os.path.join(directory, "checkpoint")
    if not os.path.isfile(state) or os.path.getsize(state) > 2**20:
        return None
    with open(state, encoding="utf-8", errors="replace") as file:
        named = re.search(r'^model_checkpoint_path:\s*"([^"]*)"', file.read(), re.MULTILINE)
    if named is None:
        return None
    prefix = os.path.join(directory, os.path.basename(named[1].replace("\\\\", "/").replace("\\", "/")))
    return prefix if os.path.isfile(f"{prefix}.index") else None


def prefix_of(path: str) -> str:
    """The prefix of the checkpoint that a path names: an .index file, or a folder with a `checkpoint` file."""
    if os.path.isdir(path):
        prefix = latest_prefix(path)
        assert prefix is not None, path  # `detect` has seen it
        return prefix
    return path.removesuffix(".index")


# The magic number at the end of an index file, a LevelDB table.
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
