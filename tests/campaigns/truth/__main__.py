"""`make truth`: models by the hundred, over the libraries' layers and every kind of state and file, against the answers that they
gave before they were saved.

python -m tests.campaigns.truth [--share 1] [--random_models 120] [--folder .cache/truth] [--write docs/checkpoints.md]

Can be interrupted: what is judged stays in the folder, and the same command goes on. When LiteFerry's code has changed, the same
checkpoints are judged again.
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.truth import table
from tests.campaigns.truth.campaign import Batch, results
from tests.support.page import replace_between

MARKS = ("<!-- made by make truth -->", "<!-- end of the truth -->")
PARTS = {"keras": 20, "tf_keras": 24, "tensorflow": 1}  # so that a job has some sixty models


def main(argv: Sequence[str] | None = None) -> int:
    """Prints each batch's findings and the table of all. Exit status: 0 all that must hold holds, 1 something does not."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.truth", description=__doc__, allow_abbrev=False)
    parser.add_argument("--share", type=float, default=1.0, help="share of the batches to run, each a cross-section")
    parser.add_argument("--random_models", type=int, default=120, help="models put together at random, of each library")
    parser.add_argument("--libraries", default="keras,tf_keras,tensorflow", help="which, comma-separated")
    parser.add_argument("--folder", type=Path, default=Path(".cache/truth"), help="where checkpoints and findings stay")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page, between its markers")
    arguments = parser.parse_args(argv)
    found = []
    for batch in _batches(arguments):
        of_batch = results(batch, arguments.folder.resolve() / batch.name)
        for problem in table.problems(of_batch):
            print(f"  {batch.name}: {problem}", flush=True)
        found += of_batch
        print(f"{batch.name}: {len(of_batch)} models, {sum(map(table.is_lie, of_batch))} lies", flush=True)
    page = table.page(found)
    problems = table.problems(found)
    print(f"\n{page}\n")
    for problem in problems:
        print(f"BROKEN: {problem}")
    if arguments.write:
        share = "" if arguments.share >= 1 else f", {arguments.share:.0%} of the batches of {arguments.libraries}"
        today = datetime.datetime.now(tz=datetime.UTC).date()
        said = f"{len(found)} models{share}, {today}, {len(problems)} things that must hold do not."
        replace_between(arguments.write, MARKS, f"{said}\n\n{page}")
    return 1 if problems else 0


def _batches(arguments: argparse.Namespace) -> list[Batch]:
    """Every second one asks for the smaller variants, too."""
    batches = []
    for library in arguments.libraries.split(","):
        parts = PARTS[library]
        for part in range(math.ceil(parts * arguments.share)):
            variants = ("float32", "float16", "int8") if part % 2 else ("float32",)
            kept = {"random_models": arguments.random_models, "variants": variants}
            batches.append(Batch(library=library, part=part, parts=parts, **kept))
    return batches


if __name__ == "__main__":
    sys.exit(main())
