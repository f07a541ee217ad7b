"""`python -m benchmarks --against REVISION`: one fleet on the code of an older commit and on that of the checkout, in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import HERE, Run, folder, median, run_job, run_script

FLEETS = ("mixed", "siblings")
MOST_SLOWER = 1.10
_ROOT = os.path.dirname(HERE)
_WORDS = """
`python -m benchmarks --against {revision}`: the fleets from above on the code of that commit and on this one in turn, and who
begins changes from round to round. Both run with the packages that are installed. A run takes the whole fleet, with its start-up.
""".strip().splitlines()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """Runs of a fleet of `count` models on both sides, and how many models each side's last run blessed."""

    fleet: str
    count: int
    older: Sequence[Run]
    newer: Sequence[Run]
    blessed: tuple[int, int]

    def seconds(self, measure: str) -> tuple[float, float]:
        """Medians of `wall_s` or `cpu_s`, older and newer."""
        older, newer = (median(getattr(run, measure) for run in side) for side in (self.older, self.newer))
        return older, newer

    @property
    def is_met(self) -> bool:
        """Neither wall nor CPU is more than MOST_SLOWER times what it was."""
        return all(newer <= older * MOST_SLOWER for older, newer in map(self.seconds, ("wall_s", "cpu_s")))


def fleets_of(only: str, *, every: Sequence[str]) -> list[str]:
    """The fleets that `--only` names, all where it names everything. Raises ValueError where one cannot be compared."""
    chosen = [name for name in only.split(",") if name]
    if chosen == list(every):
        return list(FLEETS)
    strangers = sorted(set(chosen) - set(FLEETS))
    if strangers or not chosen:
        raise ValueError(
            f"--against compares {' and '.join(FLEETS)}, not {', '.join(strangers) or 'nothing'}; name these with --only"
        )
    return chosen


def commit_of(revision: str) -> str:
    """The commit's abbreviated hash. Raises ValueError where git does not know it."""
    command = ["git", "-C", _ROOT, "rev-parse", "--short", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"--against {revision}: git knows no such commit in {_ROOT}; `git log --oneline` lists them")
    return done.stdout.strip()


@contextlib.contextmanager
def worktree(revision: str) -> Iterator[str]:
    """A checkout of the commit in a folder of its own, which goes in the end."""
    with folder("revision") as path:
        tree = os.path.join(path, "tree")
        subprocess.run(["git", "-C", _ROOT, "worktree", "add", "--quiet", "--detach", tree, revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "-C", _ROOT, "worktree", "remove", "--force", tree], check=True)


def measure(revision: str, *, fleets: Sequence[str], count: int, rounds: int) -> list[Compared]:
    """Runs every fleet `rounds` times on each side. SystemExit where a side does not run, or runs code that it should not."""
    found = []
    with worktree(revision) as tree:
        sides = [os.path.join(tree, "components"), os.path.join(_ROOT, "components")]
        for fleet in fleets:
            with folder(fleet) as path:
                run_script("fleets.py", fleet, path, count)
                found.append(_compared(fleet, path, sides=sides, count=count, rounds=rounds))
    return found


def _compared(fleet: str, path: str, *, sides: Sequence[str], count: int, rounds: int) -> Compared:
    runs: list[list[Run]] = [[], []]
    blessed = [0, 0]
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):  # neither always finds the files in the cache
            out = os.path.join(path, "out")
            done = run_job(os.path.join(path, "job.yaml"), out, components=sides[side])
            package = done.json()["package"]
            if os.path.realpath(package) != os.path.realpath(os.path.join(sides[side], "liteferry")):
                raise SystemExit(f"{package} was imported, not the code in {sides[side]}")
            runs[side].append(done)
            blessed[side] = len(list(Path(out).glob("models/*/BLESSED")))
            shutil.rmtree(out)
    return Compared(fleet=fleet, count=count, older=runs[0], newer=runs[1], blessed=(blessed[0], blessed[1]))


def section(revision: str, found: Sequence[Compared]) -> list[str]:
    """Markdown: seconds of both sides and the newer over the older."""
    lines = ["## against", "", *(line.format(revision=revision) for line in _WORDS), ""]
    lines += [
        f"| fleet | models | blessed | | {revision}, s | now, s | ratio | target |",
        "| --- | ---: | ---: | --- |" + " ---: |" * 4,
    ]
    for one in found:
        for words, name in (("wall", "wall_s"), ("CPU", "cpu_s")):
            older, newer = one.seconds(name)
            facts = f"| {one.fleet} | {one.count} | {one.blessed[0]}, {one.blessed[1]} | {words} "
            lines.append(f"{facts}| {older:.1f} | {newer:.1f} | {newer / older:.2f} | at most {MOST_SLOWER:.2f} |")
    return lines
