"""Glob patterns over a list of names, by the rules of Python's own glob: used on the listings of stores."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Sequence

_WILDCARD = re.compile(r"[*?\[]")
_ANY_FOLDERS = "**"


def fits(name: str, part: str) -> bool:
    """Whether a name in a folder matches one part of a pattern. Names that begin with a dot match only parts that do."""
    if not _WILDCARD.search(part):
        return name == part
    return fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def literal_start(pattern: str) -> str:
    """The characters that every matching name begins with."""
    return _WILDCARD.split(pattern, maxsplit=1)[0]


def matching(files: Collection[str], pattern: str) -> list[str]:
    """The files and the folders they lie in that a pattern names.

    Args:
      files: paths relative to the folder that the pattern is relative to.
      pattern: `*`, `?`, `[...]` within a name, `**` for any number of folders; with a "/" at its end folders only.
    """
    wanted = pattern.rstrip("/").split("/")
    folders = {os.path.dirname(file) for file in files}
    for folder in list(folders):
        while folder:
            folder = os.path.dirname(folder)
            folders.add(folder)
    found = [path for path in folders if _fits_all(_parts(path), wanted)]
    if pattern.endswith("/"):
        return sorted(f"{path}/" for path in found)
    # "a/**" names a itself too, which Python's glob writes with a "/".
    return sorted([path or "" for path in found] + [path for path in files if _fits_all(_parts(path), wanted)])


def _parts(path: str) -> list[str]:
    return path.split("/") if path else []


def _fits_all(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == _ANY_FOLDERS:
        if _fits_all(parts, wanted[1:]):
            return True
        return bool(parts) and not parts[0].startswith(".") and _fits_all(parts[1:], wanted)
    return bool(parts) and fits(parts[0], wanted[0]) and _fits_all(parts[1:], wanted[1:])
