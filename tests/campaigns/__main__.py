"""`python -m tests.campaigns STAMPS --write PAGE`: the dates of the campaigns' last full runs; `make weekly` calls it.

Each file of STAMPS has a campaign's name and holds the day on which it ended and the minutes that it took.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.support.page import replace_between

MARKS = ("<!-- made by make weekly -->", "<!-- end of the weekly runs -->")


def table(stamps: dict[str, tuple[str, int]]) -> str:
    """One row for each campaign."""
    rows = [f"| `make {name}` | {day} | {minutes} |" for name, (day, minutes) in sorted(stamps.items())]
    return "\n".join(["| campaign | last full run | minutes |", "| --- | --- | ---: |", *rows])


def read(folder: Path) -> dict[str, tuple[str, int]]:
    """Name -> day and minutes, of every campaign that has ended."""
    found = {}
    for path in folder.iterdir():
        if not path.suffix:  # what a campaign keeps for itself has one
            day, minutes = path.read_text(encoding="utf-8").split()
            found[path.name] = (day, int(minutes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("--write", type=Path, required=True, metavar="PAGE")
    options = parser.parse_args()
    replace_between(options.write, MARKS, table(read(options.stamps)))


if __name__ == "__main__":
    main()
