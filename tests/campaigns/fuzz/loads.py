"""Hostile checkpoints given to the real loaders, in the sandbox that a run gives them to, and models to the real runtime."""

from __future__ import annotations

import concurrent.futures
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.fuzz import inputs
from tests.campaigns.fuzz.campaign import Finding, Tally

KINDS = ("keras", "h5", "saved_model", "archive", "tflite", "tf_checkpoint")
_SECONDS, _MEMORY_BYTES = 60, 4 * 10**9
_SMALL_BYTES = 10**9  # above what a process with TensorFlow has anyway


def load(request: tuple[str, str], reporter: Any) -> None:
    """In a sandbox: an artifact examined, loaded and traced, or run for a .tflite, as `run` and `compare` do it."""
    kind, path = request
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        reporter.result({"word": _run_tflite(path) if kind == "tflite" else _load(path)})
    finally:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        reporter.result({"grown": grown})


def _load(path: str) -> str:
    from liteferry import checkpoints
    from liteferry.loading import loaders, tracing
    from liteferry.loading.model import LoadSpec

    facts = checkpoints.examine(path)
    model = loaders.load(path, facts, LoadSpec(trust=("lambda",)), sample_columns=())
    tracing.trace(model)
    return "loaded"


def _run_tflite(path: str) -> str:
    from liteferry.commands.compare import compare_side

    signature, _, on_rows, _ = compare_side._load_tflite(path)
    rows = {
        spec.name: np.zeros([1 if size is None else min(size, 256) for size in spec.shape or ()], spec.dtype)
        for spec in signature.inputs
    }
    run, _ = on_rows(rows)
    run(rows)
    return "run"


def load_many(total: int, *, seed: int, processes: int) -> Tally:
    """So many inputs, the kinds in turn; each loaded in a sandbox with its own limits."""
    from liteferry import sandbox
    from liteferry.sandbox import Flavor, Limits, SandboxSpec

    tally = Tally("loads")
    with tempfile.TemporaryDirectory(prefix="fuzz-loads-") as scratch:
        canary = Path(scratch) / "canary"
        canary.mkdir()
        (canary / "kept").write_text("as it was")

        def one(number: int) -> tuple[int, str, str | None, int]:
            kind = KINDS[number % len(KINDS)]
            folder = Path(scratch) / f"in{number}"
            path = inputs.make(kind, seed, number).write(folder)
            flavor = Flavor.CLEAN if kind == "tflite" else Flavor.KERAS
            limits = Limits(seconds=_SECONDS, memory_bytes=_MEMORY_BYTES)
            begun = time.monotonic()
            outcome = sandbox.run(load, (kind, path), SandboxSpec(flavor=flavor, limits=limits, readable=[str(folder)]))
            taken = time.monotonic() - begun
            shutil.rmtree(folder, ignore_errors=True)
            grown = max((result["grown"] for result in outcome.results if "grown" in result), default=0)
            return number, _word(outcome), _finding(outcome, taken, grown, canary), grown

        try:
            with concurrent.futures.ThreadPoolExecutor(processes) as pool:
                for number, word, finding, grown in pool.map(one, range(total)):
                    tally.inputs += 1
                    tally.words[word] += 1
                    tally.peak_bytes = max(tally.peak_bytes, grown)
                    if word in ("CRASHED", "TIMEOUT", "OUT_OF_MEMORY"):
                        tally.contained[word] += 1
                        tally.deaths.append(Finding(KINDS[number % len(KINDS)], seed, number, word))
                    if finding:
                        tally.findings.append(Finding(KINDS[number % len(KINDS)], seed, number, finding))
        finally:
            sandbox.close()
    return tally


def _word(outcome: Any) -> str:
    """What a report would say: exceptions of the libraries are LOAD_FAILED there."""
    if outcome.error is None:
        return next(str(result["word"]) for result in outcome.results if "word" in result)
    return str(outcome.error.code or "LOAD_FAILED")


def _finding(outcome: Any, taken: float, grown: int, canary: Path) -> str | None:
    if sorted(os.listdir(canary)) != ["kept"] or (canary / "kept").read_text() != "as it was":
        return "the canary beside the inputs is gone or changed"
    if outcome.error is not None and outcome.error.code == "INTERNAL":
        return f"INTERNAL: {json.dumps(outcome.error)[:1000]}"
    if taken > _SECONDS + 90:
        return f"took {taken:.0f} s where {_SECONDS} are allowed"
    if grown > _SMALL_BYTES:
        return f"took {grown:,} bytes of memory"
    return None
