"""A report -> the charts of a model's page for each output (distribution of errors, answers against the checkpoint's), and
their tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.pages import tables

POINTS = 400  # of one artifact and output; more would cover each other


def model_charts(report: lenient.Report) -> list[dict[str, Any]]:
    """One entry for each output that has anything to draw: `{output, histogram, scatter}`, either None where it has nothing."""
    rows = tables.artifact_parities(report)
    outputs = list(dict.fromkeys(output for row in rows for output in row["parity"]))
    found = []
    for output in outputs:
        histogram, scatter = _histogram(rows, output), _scatter(rows, output)
        if histogram or scatter:
            found.append({"output": formats.single_line(output, limit=120), "histogram": histogram, "scatter": scatter})
    return found


def _histogram(rows: Sequence[Mapping[str, Any]], output: str) -> dict[str, Any] | None:
    """Share of the output's elements in each bin, one series for each artifact; bins are those of all of them.

    Exact elements are counted separately, as `exact`, since their share would dwarf the rest. An artifact with only exact
    elements has no series.
    """
    series: dict[str, dict[tuple[float, float], int]] = {}
    exact: dict[str, int] = {}
    for row in rows:
        counts = _counts(lenient.mapping(row["parity"].get(output)).get("error_histogram"))
        exact[row["name"]] = counts.pop((0.0, 0.0), 0)
        if counts:
            series[row["name"]] = counts
    edges = sorted({edge for counts in series.values() for edge in counts})
    if not edges:
        return None
    return {
        "labels": [formats.human_number(edge) for edge, _ in edges],
        "series": [
            {
                "name": formats.single_line(name, limit=120),
                "counts": [counts.get(edge, 0) for edge in edges],
                "exact": exact[name],
            }
            for name, counts in series.items()
        ],
    }


def _counts(bins: object) -> dict[tuple[float, float], int]:
    """(from, to) -> count, of what a report has as `error_histogram`.

    Its last but smallest bin is "everything below"; where that ends differs from artifact to artifact, so it is drawn as the
    factor of two next to its end.
    """
    counts: dict[tuple[float, float], int] = {}
    for one in map(lenient.mapping, lenient.listing(bins)):
        edge, end, count = lenient.number(one.get("from")), lenient.number(one.get("to")), lenient.integer(one.get("count"))
        if edge is not None and count:
            last = math.inf if end is None else end
            counts[last / 2 if edge == 0 else edge, last] = count
    return counts


def _scatter(rows: Sequence[Mapping[str, Any]], output: str) -> list[dict[str, Any]] | None:
    found = []
    for row in rows:
        pairs = lenient.mapping(lenient.mapping(row["artifact"].get("scatter")).get(output))
        sides = [[lenient.number(value) for value in lenient.listing(pairs.get(side))] for side in ("reference", "candidate")]
        points = [[left, right] for left, right in zip(*sides, strict=False) if left is not None and right is not None]
        if any(left != right for left, right in points):  # an exact series would hide the others
            found.append({"name": formats.single_line(row["name"], limit=120), "points": points[:POINTS]})
    return found or None


def errors_by_operator(report: lenient.Report) -> list[dict[str, Any]]:
    """`{name, tensors: [[name, operator, position, relative error]]}` of every variant that failed, in order of execution."""
    found = []
    for name, variant in lenient.mapping(report.get("variants")).items():
        errors = map(lenient.mapping, lenient.listing(lenient.mapping(variant).get("tensor_errors")))
        tensors = [
            [
                formats.printable(lenient.text(one.get("tensor")) or ""),
                formats.single_line(one.get("operator"), limit=60),
                lenient.integer(one.get("position")) or 0,
                lenient.number(one.get("relative")),
            ]
            for one in errors
        ]
        if tensors:
            found.append({"name": formats.single_line(name, limit=120), "tensors": tensors})
    return found


def flips(report: lenient.Report) -> list[dict[str, Any]]:
    """Where the top class moved: one row for each artifact, output and pair of classes, as many as the report lists."""
    found = []
    for row in tables.artifact_parities(report):
        for output, statistics in row["parity"].items():
            for flip in map(lenient.mapping, lenient.listing(lenient.mapping(statistics).get("flips"))):
                found.append(
                    {
                        "artifact": row["name"],
                        "output": output,
                        "from": formats.plain(flip.get("from")),
                        "to": formats.plain(flip.get("to")),
                        "count": formats.human_number(flip.get("count")),
                    }
                )
    return found


SLICES_SHOWN = 60


def slices(report: lenient.Report) -> dict[str, Any]:
    """Parity by slice: one row for each slice, the worst agreement first; a cell says agreement and largest difference."""
    artifacts = [(row["name"], lenient.mapping(row["artifact"].get("slices"))) for row in tables.artifact_parities(report)]
    artifacts = [(name, found) for name, found in artifacts if found]
    ranked: list[tuple[float, float, dict[str, Any]]] = []
    for name in dict.fromkeys(slice_name for _, found in artifacts for slice_name in found):
        facts = [lenient.mapping(found.get(name)) for _, found in artifacts]
        agreements = [_over(fact, "argmax_agreement", lower_is_worse=True) for fact in facts]
        errors = [_over(fact, "max_abs") for fact in facts]
        count = next((one["row_count"] for one in facts if one.get("row_count") is not None), None)
        least = min((value for value in agreements if value is not None), default=1.0)
        largest = max((value for value in errors if value is not None), default=0.0)
        ranked.append((least, -largest, {"name": name, "cells": [formats.human_number(count), *map(_cell, agreements, errors)]}))
    rows = [row for _, _, row in sorted(ranked, key=lambda one: one[:2])]
    return {
        "columns": ["rows", *(name for name, _ in artifacts)],
        "rows": rows[:SLICES_SHOWN],
        "more": max(0, len(rows) - SLICES_SHOWN),
    }


def _over(facts: Mapping[str, Any], statistic: str, *, lower_is_worse: bool = False) -> float | None:
    return lenient.worst(lenient.over_outputs(facts.get("parity"), statistic), lower_is_worse=lower_is_worse)


def _cell(agreement: float | None, error: float | None) -> str:
    told = [formats.human_share(agreement)] if agreement is not None else []
    return " · ".join([*told, formats.human_number(error)])
