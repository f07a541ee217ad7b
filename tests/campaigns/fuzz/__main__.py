"""`python -m tests.campaigns.fuzz`: broken and hostile inputs by the hundred thousand.

The figures go into docs/reliability.md with --write.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import resource
import sys
import time
from pathlib import Path

from tests.campaigns.fuzz import campaign, inputs
from tests.campaigns.fuzz.campaign import Tally
from tests.campaigns.fuzz.figures import table, words, write
from tests.campaigns.fuzz.loads import load_many

# A share of all inputs for every kind: what is native or intricate gets more.
WEIGHTS = {
    "keras": 16,
    "h5": 16,
    "archive": 8,
    "saved_model": 12,
    "tf_checkpoint": 10,
    "tflite": 12,
    "samples": 14,
    "image": 5,
    "job": 3,
    "runner_config": 2,
    "out": 2,
}


def shares(total: int, kinds: list[str]) -> dict[str, int]:
    weight = sum(WEIGHTS[kind] for kind in kinds)
    return {kind: max(1, -(-total * WEIGHTS[kind] // weight)) for kind in kinds}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs")
    parser.add_argument(
        "--inputs", type=int, default=100_000, metavar="N", help="over all kinds, for the readers without TensorFlow"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so many, however many inputs that were")
    parser.add_argument("--kinds", default=",".join(WEIGHTS), metavar="A,B")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument(
        "--show", nargs=2, metavar=("KIND", "NUMBER"), help="write that input to --into and read it, with its traceback"
    )
    parser.add_argument("--keep", nargs=4, metavar=("KIND", "NUMBER", "NAME", "WHAT"), help="keep that input, which broke WHAT")
    parser.add_argument("--into", type=Path, default=Path("fuzz-input"), metavar="DIR")
    parser.add_argument("--loads", type=int, default=0, metavar="N", help="checkpoints given to the real loaders in the sandbox")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the figures into this page")
    options = parser.parse_args()
    if options.show:
        return show(options.show[0], options.seed, int(options.show[1]), options.into)
    if options.keep:
        kind, number, name, what = options.keep
        inputs.keep(kind, options.seed, int(number), name, what)
        return 0
    begun = time.monotonic()
    tallies: dict[str, Tally] = {}
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        loading = beside.submit(_loads, options.loads, seed=options.seed, processes=options.processes)
        if options.inputs:
            wanted = shares(options.inputs, options.kinds.split(","))
            tallies = campaign.campaign(wanted, seed=options.seed, processes=options.processes, minutes=options.minutes)
        wall_s = time.monotonic() - begun
        loaded, loads_s = loading.result()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = children.ru_utime + children.ru_stime
    everything = [*tallies.values(), *([loaded] if loaded else [])]
    print(words(everything))
    for death in (death for tally in everything for death in tally.deaths):
        print(f"contained: {death.kind}, seed {death.seed}, number {death.number}: {death.what}")
    findings = [finding for tally in everything for finding in tally.findings]
    for title, group in sorted(campaign.distinct(findings).items()):
        print(f"\n{len(group)} x {title}\n  seed {group[0].seed}, numbers {[finding.number for finding in group[:6]]}")
    text = table(tallies, loaded, seed=options.seed, wall_s=wall_s, cpu_s=cpu_s, loads_s=loads_s)
    print(f"\n{text}")
    if options.write:
        write(options.write, text)
    return 1 if findings else 0


def _loads(count: int, *, seed: int, processes: int) -> tuple[Tally | None, float]:
    """The full loads, and how long they took."""
    begun = time.monotonic()
    tally = load_many(count, seed=seed, processes=processes) if count else None
    return tally, time.monotonic() - begun


def show(kind: str, seed: int, number: int, folder: Path) -> int:
    """Makes an input again and reads it here, with whatever it does."""
    from liteferry.commands.inspect.child import protobufs_alone
    from tests.campaigns.fuzz.readers import READERS

    protobufs_alone()
    campaign.save(folder, kind, seed, number)
    print(READERS[kind](os.path.join(folder, inputs.make(kind, seed, number).entry)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
