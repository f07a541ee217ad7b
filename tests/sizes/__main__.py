"""`python -m tests.sizes [--models N] [--out OUT] [--write]`: what today's variants give, what `auto` gives, and what stands
in the way.

Without --out a fleet is generated and run; with --out the reports of a run that is there are read. `--write` puts the table into
docs/variants.md.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.sizes.table import PAGE, rows_of, table

_JOB = {
    "variants": ["float32", "float16", "dynamic_int8", "weight_only_int8", "int8", "auto"],
    "policy": {"require": ["float32"]},
    "evaluation": {"latency": False},
}


def run(count: int, folder: pathlib.Path) -> pathlib.Path:
    """Generates a fleet and runs it. Returns OUT."""
    subprocess.run([sys.executable, "-m", "tests.sizes.fleet", str(folder), str(count)], check=True)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.yaml").write_text(json.dumps({**_JOB, **job}))
    command = [sys.executable, "-m", "liteferry", "run", "--config", str(folder / "job.yaml"), "--output", str(folder / "out")]
    subprocess.run(command, check=False)
    return folder / "out"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sizes", description=__doc__, allow_abbrev=False)
    parser.add_argument("--models", type=int, default=60, metavar="N", help="how many are generated (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, metavar="OUT", help="a run that is there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/variants.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or run(arguments.models, pathlib.Path(folder))
        reports = [json.loads(path.read_text()) for path in sorted(out.glob("models/*/report.json"))]
    if not reports:
        print(f"{out}: no report is there", file=sys.stderr)
        return 1
    text = table(rows_of(reports))
    print(text)
    if arguments.write:
        page = PAGE.read_text()
        PAGE.write_text(
            re.sub(r"(?s)(<!-- sizes -->\n).*?(<!-- /sizes -->)", lambda found: f"{found[1]}{text}\n{found[2]}", page)
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
