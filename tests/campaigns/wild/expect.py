"""What the suite demands of the reports.

Whether float16 and dynamic_int8 are blessed is told, not demanded: what a model can bear is for its owner to say.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.parity.gate_limits import NOISE_CAPS
from tests.campaigns.wild.jobs import Entry

Report = Mapping[str, Any]

SAVED_MODEL_MAX_REL = 1e-5


def package_of(report: Report) -> str:
    """The package a report's checkpoint comes from; the job file put it into the metadata."""
    return str(report["metadata"].get("package"))


def unmet(entries: Sequence[Entry], reports: Sequence[Report]) -> list[str]:
    """Every expectation that does not hold, as a sentence; empty when all do.

    As many reports as checkpoints, package by package, and of every checkpoint: a SavedModel within 1e-5 of it, float32 blessed
    unless its answers are `unsettled`.
    """
    wanted: collections.Counter[str] = collections.Counter()
    for entry in entries:
        wanted[entry.package] += entry.count
    found = collections.Counter(package_of(report) for report in reports)
    problems = [
        f"{package}: {found[package]} reports for {wanted[package]} checkpoints"
        for package in sorted(wanted.keys() | found.keys())
        if found[package] != wanted[package]
    ]
    for report in reports:
        problems += [f"{package_of(report)} {report['model_id']}: {problem}" for problem in problems_of(report)]
    return problems


def problems_of(report: Report) -> list[str]:
    """What one report lacks."""
    saved = report["saved_model"]
    if saved is None:
        return [f"not exported: {_reason(report)}"]
    problems = []
    wanted = {output["name"] for output in saved["signatures"]["serving_default"]["outputs"]}
    if not wanted or saved["fidelity"].keys() != wanted:
        problems.append(
            f"its SavedModel has outputs {sorted(wanted)}, of which {sorted(saved['fidelity'])} were compared: {_reason(saved)}"
        )
    for output, stats in saved["fidelity"].items():
        if stats["max_rel"] is None or not stats["max_rel"] <= SAVED_MODEL_MAX_REL:
            problems.append(
                f"SavedModel output {output!r}: max_rel is {stats['max_rel']}, expected at most {SAVED_MODEL_MAX_REL:g}"
            )
        if not stats["example_count"] or stats["constant_reference"]:
            problems.append(f"SavedModel output {output!r}: {stats['example_count']} rows with one same answer prove nothing")
    if saved["status"] != "blessed":
        problems.append(f"SavedModel is {saved['status']}: {_reason(saved)}")
    float32 = report["variants"]["float32"]
    if float32["status"] != "blessed" and unsettled(report) is None:
        problems.append(f"float32 is {float32['status']}: {_reason(float32)}")
    return problems


def unsettled(report: Report) -> float | None:
    """How far two of LiteRT's kernels are apart on the same float32 file, if that is more than any noise may raise the limit to:
    the order of sums decides such answers, so a CPU on which TensorFlow adds up like one of the kernels blesses the file, and
    another one does not.
    """
    outputs = ((report.get("noise_floor") or {}).get("float32") or {}).get("outputs", {})
    apart = max((one["max_rel"] or 0.0 for one in outputs.values()), default=0.0)
    return apart if apart > NOISE_CAPS["float32"]["max_rel"] else None


def _reason(part: Report) -> str:
    reason = part["reason"]
    return f"{reason['code']} in {reason['stage']}: {reason['message']}" if reason else "no reason given"
