"""`python -m tests.campaigns STAMPS [--write PAGE]`: when the parts of a long suite ended and how long they took.

Each file of STAMPS has a part's name and holds the day on which it ended and the seconds that it took. `make weekly` writes them
into docs/contributing.md, `make nightly` prints them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from tests.support.page import replace_between

MARKS = ("<!-- made by make weekly -->", "<!-- end of the weekly runs -->")


def table(stamps: dict[str, tuple[str, int]]) -> str:
    """One row for each campaign."""
    rows = [f"| `make {name}` | {day} | {math.ceil(seconds / 60)} |" for name, (day, seconds) in sorted(stamps.items())]
    return "\n".join(["| campaign | last full run | minutes |", "| --- | --- | ---: |", *rows])


def lines(stamps: dict[str, tuple[str, int]]) -> str:
    """Each part's seconds, the longest first, and the sum in minutes."""
    parts = sorted(stamps.items(), key=lambda stamp: -stamp[1][1])
    rows = [f"{seconds:6,} s  {name}  ({day})" for name, (day, seconds) in parts]
    return "\n".join([*rows, f"{sum(seconds for _, seconds in stamps.values()) / 60:.0f} minutes in all"])


def read(folder: Path) -> dict[str, tuple[str, int]]:
    """Name -> day and seconds, of every part that has ended."""
    found = {}
    for path in folder.iterdir():
        if not path.suffix:  # what a campaign keeps for itself has one
            day, seconds = path.read_text(encoding="utf-8").split()
            found[path.name] = (day, int(seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the dates into PAGE; without it, print the seconds")
    options = parser.parse_args()
    stamps = read(options.stamps)
    if options.write:
        replace_between(options.write, MARKS, table(stamps))
    else:
        print(lines(stamps))


if __name__ == "__main__":
    main()
