"""`python -m tests.campaigns.wild --cache DIR`: LiteFerry on checkpoints that other people trained and published; docs/wild.md.

Exit status: 0 every expectation met, 1 some are not, 2 bad usage or packages that cannot be had.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

from tests.campaigns.wild import comparisons, direct, expect, fetch, jobs, table

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "wild.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches, runs, checks, prints; writes docs/wild.md when the whole suite ran."""
    options = _parser().parse_args(arguments)
    cache = options.cache.expanduser().resolve()
    try:
        entries = jobs.select([name for name in options.only.split(",") if name])
        unpacked = {package.name: fetch.fetch(package, cache) for package in jobs.packages_of(entries)}
    except (ValueError, fetch.FetchError, fetch.UnsafeWheelError) as error:
        print(f"tests.campaigns.wild: {error}", file=sys.stderr)
        return 2
    folder = options.output.resolve() if options.output else cache / "output"
    if options.output is None:
        shutil.rmtree(folder, ignore_errors=True)
    status = run_liteferry(jobs.write_job(entries, unpacked, folder / "job"), folder / "out")
    reports = table.load_reports(folder / "out")
    problems = expect.unmet(entries, reports)
    if status not in (0, 1):
        problems.append(f"liteferry run ended with status {status}")
    print(f"\n{table.text(reports)}\n")
    found, unsettled = [], {expect.package_of(report) for report in reports if expect.unsettled(report) is not None}
    for pair in (pair for pair in comparisons.PAIRS if any(pair.samples == entry.samples.file for entry in entries)):
        print(f"Comparing {pair.candidate} of {pair.package}", file=sys.stderr, flush=True)
        compare_status, facts = comparisons.compare(pair, unpacked[pair.package], folder / "job")
        unmet = [] if pair.package in unsettled else comparisons.problems_of(pair, compare_status, facts)
        problems += unmet
        found += [] if unmet else [(pair, facts)]
    print(comparisons.section(found))
    print("Computing statistics directly", file=sys.stderr, flush=True)
    count, differing = direct.check(folder / "job" / "job.yaml", folder / "direct")
    problems += differing if count else ["no statistics were computed directly", *differing]
    print(f"Statistics of {count} outputs computed directly with NumPy and SciPy: {len(differing)} numbers differ")
    if reports and not options.only:
        page = table.page(reports, limit=expect.SAVED_MODEL_MAX_REL) + comparisons.section(found)
        PAGE.write_text(page, encoding="utf-8")
        print(f"Wrote {PAGE}")
    for problem in problems:
        print(f"UNMET: {problem}", file=sys.stderr)
    total = sum(entry.count for entry in entries)
    print(f"{total} checkpoints, {len(reports)} reports, {len(problems)} expectations unmet. All files: {folder}")
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.wild", description=main.__doc__, allow_abbrev=False)
    parser.add_argument(
        "--cache", type=pathlib.Path, metavar="DIR", default=fetch.default_cache(), help="where wheels are kept (%(default)s)"
    )
    parser.add_argument(
        "--only", default="", metavar="A,B", help="packages, or entries such as mmsplice/Donor; docs/wild.md stays as it is"
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        metavar="DIR",
        help="where job and results go; given again, what is done stays (a fresh folder in the cache)",
    )
    return parser


def run_liteferry(job: pathlib.Path, out: pathlib.Path) -> int:
    """The command as users run it, in a process of its own. Its exit status."""
    command = [sys.executable, "-m", "liteferry", "run", "--config", str(job), "--output", str(out)]
    print(f"Running: liteferry {' '.join(command[3:])}", file=sys.stderr, flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
