"""Task metrics as tables: metrics down, the checkpoint and its artifacts across; then the slices, missed limits first."""

from __future__ import annotations

from typing import Any

from liteferry import lenient
from liteferry.report import formats

_SLICES_SHOWN = 60
_OVERALL = "all rows"


def metric_tables(report: lenient.Report) -> dict[str, Any]:
    """{"tables": [{caption, columns, rows}], "notes": [sentences]}; both empty for a report without task metrics."""
    artifacts = _artifacts(report)
    whole = lenient.mapping(report.get("metrics"))
    notes = [lenient.text(problem) for problem in lenient.listing(whole.get("problems")) if problem is not None]
    tables = []
    overall = _rows({name: {_OVERALL: artifact.get("metrics")} for name, artifact in artifacts.items()})
    if overall:
        caption = "Metrics against the labels, on all rows; in brackets the change from the checkpoint"
        tables.append(_table(caption, artifacts, overall))
    slices = _rows({name: lenient.mapping(artifact.get("metric_slices")) for name, artifact in artifacts.items()})
    slices.sort(key=lambda row: (not row["is_missed"], -row["change"]))
    if slices:
        tables.append(_table("The same in every slice; missed limits and large changes first", artifacts, slices[:_SLICES_SHOWN]))
    if len(slices) > _SLICES_SHOWN:
        notes.append(f"{len(slices) - _SLICES_SHOWN:,} more rows of slices are in report.json.")
    return {"tables": tables, "notes": notes}


def _artifacts(report: lenient.Report) -> dict[str, dict[str, Any]]:
    variants = lenient.mapping(report.get("variants"))
    found = {"SavedModel": lenient.mapping(report.get("saved_model"))}
    found |= {name: lenient.mapping(variants[name]) for name in lenient.ordered_variants(variants)}
    return {name: artifact for name, artifact in found.items() if lenient.mapping(artifact.get("metrics"))}


def _table(caption: str, artifacts: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"caption": caption, "columns": ["checkpoint", *artifacts], "rows": rows}


def _rows(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each slice and metric. `found`: artifact -> slice -> metric -> facts."""
    names = dict.fromkeys(
        (where, metric) for slices in found.values() for where, metrics in slices.items() for metric in lenient.mapping(metrics)
    )
    rows = []
    for where, metric in names:
        facts = [lenient.mapping(lenient.mapping(slices.get(where)).get(metric)) for slices in found.values()]
        reference = next((one["reference"] for one in facts if one.get("reference") is not None), None)
        rows.append(
            {
                "name": metric if where == _OVERALL else f"{metric}, {where}",
                "cells": [formats.human_number(reference), *map(_cell, facts)],
                "is_missed": any(one.get("is_within") is False for one in facts),
                "change": max((abs(lenient.number(one.get("change")) or 0.0) for one in facts), default=0.0),
            }
        )
    return rows


def _cell(facts: dict[str, Any]) -> str:
    """`0.9694 (-0.0028)`, with a cross where a limit is missed."""
    value, change = lenient.number(facts.get("value")), lenient.number(facts.get("change"))
    told = formats.human_number(value) + (f" ({'+' if change > 0 else ''}{formats.human_number(change)})" if change else "")
    return f"{told} ✗" if facts.get("is_within") is False else told
