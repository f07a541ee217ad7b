"""`python -m tests.campaigns.fuzz.graphs`: graphs with any operation anywhere; what passes the scan is loaded and run.

The kernel confines nothing here. All texts are paths of a folder that the kernel watches: whoever opens, makes or changes
anything in it has fired.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.campaigns.fuzz import batches
from tests.campaigns.fuzz.graph_mutations import GraphMutator, Seed, seeds
from tests.campaigns.fuzz.watched_folder import WatchedFolder

_BATCH = 500
SECRET = "SECRET-CANARY-4711"


class GraphBatch:
    """Scans SavedModels, loads those that pass and calls what they serve."""

    def __init__(self, seed: int, operations: list[str] | None = None, *, is_scanned: bool = True) -> None:
        """`is_scanned`: False for the test that the canaries fire."""
        self._seed, self._operations, self._is_scanned = seed, operations, is_scanned

    def __call__(self, first: int, count: int, tell: batches.Tell) -> None:
        """Says of each graph what became of it. The seed and its number make the graph."""
        with tempfile.TemporaryDirectory(prefix="liteferry-graphs-") as folder:
            self._run(Path(folder), range(first, first + count), tell)

    def _run(self, folder: Path, numbers: range, tell: batches.Tell) -> None:
        canary = folder / "canary"
        canary.mkdir()
        (canary / "secret.txt").write_text(f"{SECRET} 1\n")
        (folder / "words.txt").write_text("1 1\n")
        paths = [str(canary / "secret.txt"), str(canary / "marker"), str(canary), f"file://{canary}/marker", f"{canary}/*"]
        mutator = GraphMutator(seeds(folder, folder / "words.txt"), self._seed, paths, self._operations)
        watched = WatchedFolder(canary)
        for number in numbers:
            seed, saved_model, what = mutator.make(number)
            if self._is_scanned and _is_refused(saved_model):
                tell({"graphs": 1, "refused": 1}, "")
                continue
            word, told = _run_one(folder / "model", seed, saved_model)
            events = sorted(set(watched.events()))
            is_read = bool(events) or SECRET in told
            tell({"graphs": 1, word: 1}, f"seed {self._seed}, number {number}: {what}: {events} {told[:300]}" if is_read else "")


def _is_refused(saved_model: Any) -> bool:
    from liteferry.checkpoints import graph_scan
    from liteferry.errors import ModelError

    try:
        graph_scan.refuse_shadowing("a", saved_model)
    except ModelError:
        return True
    return bool(graph_scan.findings(saved_model))


def _run_one(place: Path, seed: Seed, saved_model: Any) -> tuple[str, str]:
    """Loads a graph and calls its function. What came of it, and all that it said."""
    import tensorflow as tf

    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(seed.folder, place)
    (place / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    try:
        loaded = tf.saved_model.load(str(place))
    except Exception as error:  # noqa: BLE001  # TensorFlow raises anything over graphs that were made to be wrong
        return "not loaded", str(error)
    try:
        answer = loaded.signatures["serving_default"](x=tf.ones([2, 3]))
    except Exception as error:  # noqa: BLE001  # as above
        return "loaded, not run", str(error)
    return "run", str({name: value.numpy() for name, value in answer.items()})


def in_sandbox(request: dict[str, Any], reporter: Any) -> None:
    """One batch for the tests: {seed, count, operations, is_scanned} -> its counts."""
    sums: dict[str, Any] = {"fired": []}
    batch = GraphBatch(request["seed"], request["operations"], is_scanned=request["is_scanned"])
    batch(0, request["count"], functools.partial(batches.add, sums))
    reporter.result(sums)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz.graphs", description=__doc__)
    parser.add_argument("--graphs", type=int, default=10_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=3600.0, metavar="S", help="stop after so many, however many that were")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    import tensorflow  # noqa: F401  # once, for all batches

    told = batches.run(GraphBatch(options.seed), options.graphs, size=_BATCH, seconds=options.seconds)
    print(json.dumps(told))
    return int(bool(told["fired"]))


if __name__ == "__main__":
    sys.exit(main())
