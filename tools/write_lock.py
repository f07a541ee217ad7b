"""What pip would install under each Python, one report each -> requirements.lock, with a marker where the Pythons differ.

    python -m tools.write_lock REPORT ... > requirements.lock

A report is what `pip install --dry-run --ignore-installed --report` writes; it says under which Python it was made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_OURS = "liteferry"


def lock_lines(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the lock, sorted by name: `name==version`, behind it the Pythons that it is for where others need another
    version, or do without the package.

    Args:
      reports: of pip, one for each Python, in any order.
    """
    found: dict[str, dict[tuple[int, ...], str]] = {}
    for report in reports:
        python = _version(report["environment"]["python_version"])
        for package in report["install"]:
            metadata = package["metadata"]
            if metadata["name"] != _OURS:
                found.setdefault(metadata["name"], {})[python] = metadata["version"]
    pythons = sorted({_version(report["environment"]["python_version"]) for report in reports})
    return [line for name in sorted(found, key=str.lower) for line in _of_package(name, found[name], pythons)]


def _of_package(name: str, versions: Mapping[tuple[int, ...], str], pythons: Sequence[tuple[int, ...]]) -> list[str]:
    wanted = [versions.get(python) for python in pythons]
    if len(set(wanted)) == 1:
        return [f"{name}=={wanted[0]}"]
    lines, start = [], 0
    while start < len(pythons):
        stop = start
        while stop < len(pythons) and wanted[stop] == wanted[start]:
            stop += 1
        from_here = [f'python_version >= "{_text(pythons[start])}"'] if start else []
        up_to_here = [f'python_version < "{_text(pythons[stop])}"'] if stop < len(pythons) else []
        if wanted[start] is not None:
            lines.append(f"{name}=={wanted[start]}; {' and '.join([*from_here, *up_to_here])}")
        start = stop
    return lines


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def main(paths: Sequence[str]) -> None:
    """Prints the lock."""
    reports = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            reports.append(json.load(file))
    pythons = ", ".join(sorted((report["environment"]["python_version"] for report in reports), key=_version))
    head = f"# Every package of `make venv`, resolved on Linux x86_64 with Python {pythons} for liteferry[demo,dev]."
    print(f"{head} `make lock` writes this file.")
    print("\n".join(lock_lines(reports)))


if __name__ == "__main__":
    main(sys.argv[1:])
