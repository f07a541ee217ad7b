"""`python -m tests.sizes FOLDER [--models N] [--seconds S] [--out OUT ...] [--write]`: what today's variants give, what `auto`
gives, and what stands in the way.

A fleet is generated into FOLDER and run there, a few models at a time; what FOLDER holds already is not done again, so a
measurement that was stopped goes on. `--out` adds the reports of other runs, of published models for one; with `--models 0` they
are all there is. `--write` puts the table into docs/variants.md.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.sizes import qat
from tests.sizes.table import PAGE, lines, rows_of, table

JOB = {
    "variants": ["float32", "float16", "dynamic_int8", "weight_only_int8", "int8", "auto"],
    "policy": {"require": ["float32"]},
    "evaluation": {"latency": False},
}
_TOGETHER = 9


def slices(count: int) -> Iterator[tuple[str, list[int]]]:
    """(writer, numbers): models that one process writes and one job runs. One in ten is trained with quantisation in mind."""
    trained = count // 10
    plain = list(range(count - trained))
    for start in range(0, len(plain), _TOGETHER):
        yield "tests.sizes.fleet", plain[start : start + _TOGETHER]
    if trained:
        yield "tests.sizes.qat", list(range(trained))


def run(writer: str, numbers: list[int], folder: pathlib.Path) -> None:
    """Writes some models of the fleet into a folder, and runs them there; their reports are in `folder / "out"`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **(qat.ENVIRONMENT if writer == qat.__name__ else {})}
    if not (folder / "job.yaml").exists():
        subprocess.run([sys.executable, "-m", writer, str(folder), *map(str, numbers)], check=True, env=environment)
        job = json.loads((folder / "job.json").read_text())
        (folder / "job.yaml").write_text(json.dumps({**JOB, **job}))
    command = [sys.executable, "-m", "liteferry", "run", "--config", str(folder / "job.yaml"), "--output", str(folder / "out")]
    subprocess.run(command, check=False)


def is_done(folder: pathlib.Path) -> bool:
    return (folder / "out" / "fleet.json").exists()


def reports_of(outs: list[pathlib.Path]) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for out in outs for path in sorted(out.glob("models/*/report.json"))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sizes", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=pathlib.Path, help="where the fleet is, or will be")
    parser.add_argument("--models", type=int, default=60, metavar="N", help="how many are generated (default: %(default)s)")
    parser.add_argument("--seconds", type=float, metavar="S", help="begin nothing new after so many")
    parser.add_argument("--out", type=pathlib.Path, action="append", default=[], metavar="OUT", help="another run's results")
    parser.add_argument("--write", action="store_true", help="put the table into docs/variants.md")
    arguments = parser.parse_args()
    ends, places = time.monotonic() + (arguments.seconds or float("inf")), []
    for number, (writer, numbers) in enumerate(slices(arguments.models)):
        place = arguments.folder / f"{number:02d}"
        places.append(place / "out")
        if not is_done(place) and time.monotonic() < ends:
            run(writer, numbers, place)
    rows = rows_of(reports_of([*places, *arguments.out]))
    if not rows:
        print(f"{arguments.folder}: no report is there", file=sys.stderr)
        return 1
    print("\n".join(lines(rows)))
    text = table(rows)
    print(text)
    if arguments.write:
        page = PAGE.read_text()
        PAGE.write_text(
            re.sub(r"(?s)(<!-- sizes -->\n).*?(<!-- /sizes -->)", lambda found: f"{found[1]}{text}\n{found[2]}", page)
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
