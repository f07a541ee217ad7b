"""`python -m tests.campaigns.fuzz.configs`: architectures whose nodes name anything; what passes the scan is built.

The kernel confines nothing here, and a canary stands behind every name, see `canaries`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import pickle
import sys
from typing import Any

from tests.campaigns.fuzz import batches
from tests.campaigns.fuzz.canaries import Canaries
from tests.campaigns.fuzz.config_mutations import INPUTS, Mutator, Node, import_everything, seeds

_BATCH = 10_000
# Of what was built so many are also called on rows, which is what a Lambda's function or a layer of symbols waits for.
_ONE_IN_CALLED = 10


class ConfigBatch:
    """Scans configs and deserialises what passes, by both libraries."""

    def __init__(self, seed: int, *, is_scanned: bool = True) -> None:
        """`is_scanned`: False for the test that the canaries fire."""
        self._seed, self._is_scanned = seed, is_scanned

    def __call__(self, first: int, count: int, tell: batches.Tell) -> None:
        """Says of each config what became of it. The seed and its number make the config."""
        canaries = Canaries()
        mutator = Mutator(seeds(), self._seed)
        seen: set[bytes] = set()
        for number in range(first, first + count):
            config = mutator.make(number)
            word, fired = _scanned(config) if self._is_scanned else None, ""
            counts = {"configs": 1}
            if word is None:
                text = json.dumps(config, default=str)
                digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
                word = "passed again" if digest in seen else _built(canaries, config, counts, calls=number % _ONE_IN_CALLED == 0)
                seen.add(digest)
                fired = f"seed {self._seed}, number {number}: {canaries.fired[:3]} by {text[:1500]}" if canaries.fired else ""
            tell({**counts, word: 1, "resolved": canaries.resolved}, fired)
            canaries.forget()


def _built(canaries: Canaries, config: Node, counts: dict[str, int], *, calls: bool) -> str:
    """By both libraries, as their loaders do it: a file says itself whose it is."""
    import keras
    import tf_keras

    built = False
    for library in (keras, tf_keras):
        with canaries.watching(), contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
            try:
                made = library.saving.deserialize_keras_object(pickle.loads(pickle.dumps(config)), safe_mode=False)
                built = True
                if calls and callable(made):
                    counts["called"] = counts.get("called", 0) + 1
                    made(library.ops.ones((2, INPUTS)) if library is keras else _ones())
            except Exception:  # noqa: BLE001  # libraries raise anything over configs that were made to be wrong
                continue
    return "deserialised" if built else "refused by the library"


def _ones() -> Any:
    import tensorflow as tf

    return tf.ones((2, INPUTS))


def _scanned(config: Node) -> str | None:
    """The code of the refusal, None for what passes as it would for a stranger's checkpoint without any `trust`."""
    from liteferry.checkpoints import config_scan, config_trust
    from liteferry.errors import ModelError

    try:
        config_trust.refuse("a", config_trust.findings(config), trust=())
        config_scan.refuse_untrusted("a", config_scan.scan(config), offered=(), trust=())
    except ModelError as error:
        return error.reason.code.value
    return None


def in_sandbox(request: dict[str, int], reporter: Any) -> None:
    """One batch for the tests: {seed, count, is_scanned} -> its counts."""
    sums: dict[str, Any] = {"fired": []}
    ConfigBatch(request["seed"], is_scanned=bool(request["is_scanned"]))(
        0, request["count"], functools.partial(batches.add, sums)
    )
    reporter.result(sums)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz.configs", description=__doc__)
    parser.add_argument("--configs", type=int, default=200_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=3600.0, metavar="S", help="stop after so many, however many that were")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    import_everything()  # once, for all batches

    told = batches.run(ConfigBatch(options.seed), options.configs, size=_BATCH, seconds=options.seconds)
    print(json.dumps(told))
    return int(bool(told["fired"]))


if __name__ == "__main__":
    sys.exit(main())
