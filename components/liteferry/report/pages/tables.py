"""The tables of a model's page: all artifacts side by side, the SavedModel first, then the variants in order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from liteferry import lenient
from liteferry.parity.statistics import METRICS
from liteferry.parity.statistics.base import AT_LEAST
from liteferry.report import formats

SAVED_MODEL = "SavedModel"

# Statistic -> (its title, its format), in the order of the page.
STATISTICS: Mapping[str, tuple[str, Callable[[object], str]]] = {
    "max_abs": ("largest difference", formats.human_number),
    "p999_abs": ("99.9 % of differences are below", formats.human_number),
    "p99_abs": ("99 % of differences are below", formats.human_number),
    "p90_abs": ("90 % of differences are below", formats.human_number),
    "p50_abs": ("half of differences are below", formats.human_number),
    "mean_abs": ("mean difference", formats.human_number),
    "rmse": ("root of mean square", formats.human_number),
    "max_rel": ("largest difference against the largest answer", formats.human_number),
    **{one.name: (one.title, formats.human_share if one.is_share else formats.human_number) for one in METRICS},
    "sqnr_db": ("signal to noise, dB", formats.human_number),
    "column_sqnr_db": ("signal to noise of the worst column, dB", formats.human_number),
    "row_agreement": ("rows that are not lost", formats.human_share),
    "rows_lost": ("rows whose error drowns their answer", formats.human_number),
    "cosine": ("cosine similarity", formats.human_cosine),
    "argmax_agreement": ("same top class", formats.human_share),
    "class_recall": ("positions that the worst class keeps", formats.human_share),
    "topk_agreement": ("same classes among the top five", formats.human_share),
    "flip_count": ("rows with another top class", formats.human_number),
    "kl_mean": ("mean divergence of probabilities, nats", formats.human_number),
    "kl_max": ("largest divergence of probabilities, nats", formats.human_number),
    "kl_infinite": ("rows with a probability lost to zero", formats.human_number),
    "exact_agreement": ("elements exactly equal", formats.human_share),
    "mismatch_count": ("elements not equal", formats.human_number),
    "nonfinite_mismatch": ("NaN or infinity on one side only", formats.human_number),
    "nonfinite_reference": ("NaN or infinity in the checkpoint", formats.human_number),
    "nonfinite_candidate": ("NaN or infinity in the artifact", formats.human_number),
    "constant_reference": ("checkpoint always answers the same", formats.plain),
    "constant_candidate": ("artifact always answers the same", formats.plain),
    "same_rows_reference": ("checkpoint answers every row alike", formats.plain),
    "same_rows_candidate": ("artifact answers every row alike", formats.plain),
    "zero_reference": ("checkpoint answers only zeros", formats.plain),
    "zero_candidate": ("artifact answers only zeros", formats.plain),
    "max_abs_reference": ("largest number in the checkpoint's answers", formats.human_number),
    "example_count": ("rows compared", formats.human_number),
    "element_count": ("elements compared", formats.human_number),
}

HIGHER_IS_BETTER = frozenset(
    {
        "argmax_agreement",
        "class_recall",
        "topk_agreement",
        "exact_agreement",
        "row_agreement",
        "cosine",
        "sqnr_db",
        "column_sqnr_db",
    }
    | {"example_count", "element_count", *(metric.name for metric in METRICS if metric.gate == AT_LEAST)}
)
LOWER_IS_BETTER = frozenset(STATISTICS) - HIGHER_IS_BETTER | {"max_drop"}

_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")


def _variants(report: lenient.Report) -> Iterator[tuple[str, dict[str, Any]]]:
    variants = lenient.mapping(report.get("variants"))
    for name in lenient.ordered_variants(variants):
        yield name, lenient.mapping(variants[name])


def artifact_parities(report: lenient.Report) -> list[dict[str, Any]]:
    """Each artifact with its parity per output and the worst values over the outputs."""
    saved_model = lenient.mapping(report.get("saved_model"))
    found = [(SAVED_MODEL, saved_model, saved_model.get("fidelity"), True)] if saved_model else []
    found += [(name, variant, variant.get("parity"), False) for name, variant in _variants(report)]
    rows = []
    for name, artifact, parity_per_output, is_saved_model in found:
        counts = [lenient.integer(count) for count in lenient.over_outputs(parity_per_output, "example_count")]
        rows.append(
            {
                "name": name,
                "is_saved_model": is_saved_model,
                "artifact": artifact,
                "parity": lenient.mapping(parity_per_output),
                "examples": min((count for count in counts if count is not None), default=None),
                "max_abs": lenient.worst(lenient.over_outputs(parity_per_output, "max_abs")),
                "agreement": lenient.worst(lenient.over_outputs(parity_per_output, "argmax_agreement"), lower_is_worse=True),
            }
        )
    return rows


def parity(report: lenient.Report) -> list[dict[str, Any]]:
    """One table per output: statistics down, artifacts across. Statistics without any value are left out."""
    measured = [row for row in artifact_parities(report) if row["parity"]]
    outputs = list(dict.fromkeys(output for row in measured for output in row["parity"]))
    found = []
    for output in outputs:
        columns = [lenient.mapping(row["parity"].get(output)) for row in measured]
        rows = []
        for statistic, (meaning, written) in STATISTICS.items():
            if any(column.get(statistic) is not None for column in columns):
                rows.append(
                    {"name": statistic, "meaning": meaning, "cells": [written(column.get(statistic)) for column in columns]}
                )
        found.append({"output": output, "columns": [row["name"] for row in measured], "rows": rows})
    return found


def gates(report: lenient.Report) -> list[dict[str, Any]]:
    """Every gate with its limit and the observed value, missed gates first. Anything but true counts as missed."""
    found = []
    for row in artifact_parities(report):
        for gate in map(lenient.mapping, lenient.listing(row["artifact"].get("gates"))):
            metric = lenient.text(gate.get("metric")) or formats.ABSENT
            found.append(
                {
                    "artifact": row["name"],
                    "output": lenient.text(gate.get("output")) or formats.ABSENT,
                    "metric": metric,
                    "limit": _bound(metric) + formats.exact_number(gate.get("limit")),
                    "observed": formats.beside_limit(gate.get("observed"), gate.get("limit")),
                    "is_within": gate.get("is_within") is True,
                    "is_raised": gate.get("source") == "noise",
                }
            )
    return sorted(found, key=lambda gate: gate["is_within"])


def _bound(metric: str) -> str:
    if metric in HIGHER_IS_BETTER or metric.startswith("min_"):
        return "≥ "
    return "≤ " if metric in LOWER_IS_BETTER or metric.startswith("max_") else ""


def contracts(report: lenient.Report) -> list[dict[str, Any]]:
    """Inputs and outputs: the SavedModel's signatures, then the variants', those with equal contracts in one table."""
    found = []
    signatures = lenient.mapping(lenient.mapping(report.get("saved_model")).get("signatures"))
    for name, signature in signatures.items():
        found.append({"title": f"SavedModel, signature {name}", "rows": _tensors(signature)})
    grouped: dict[str, tuple[list[str], list[dict[str, str]]]] = {}
    for name, variant in _variants(report):
        rows = _tensors(variant.get("contract"))
        if rows:
            grouped.setdefault(json.dumps(rows), ([], rows))[0].append(name)
    found += [{"title": f"TFLite: {', '.join(names)}", "rows": rows} for names, rows in grouped.values()]
    return [contract for contract in found if contract["rows"]]


def _tensors(contract: object) -> list[dict[str, str]]:
    rows = []
    for key, direction in (("inputs", "input"), ("outputs", "output")):
        tensors = lenient.mapping(contract).get(key)
        named = [{"name": name, **_tensor(spec)} for name, spec in lenient.mapping(tensors).items()]
        for tensor in map(lenient.mapping, named or lenient.listing(tensors)):
            rest = {key: tensor[key] for key in tensor if key not in ("name", "shape", "dtype") and tensor[key] is not None}
            rows.append(
                {
                    "direction": direction,
                    "name": lenient.text(tensor.get("name")) or formats.ABSENT,
                    "shape": formats.shape(tensor.get("shape")),
                    "dtype": lenient.text(tensor.get("dtype")) or formats.ABSENT,
                    "notes": ", ".join(f"{name} {formats.plain(value)}" for name, value in _leaves(rest)),
                }
            )
    return rows


def _tensor(spec: object) -> dict[str, Any]:
    return lenient.mapping(spec) or ({"dtype": spec} if isinstance(spec, str) else {})


def attempts(report: lenient.Report) -> list[dict[str, str]]:
    """Every way of converting that was tried, in order."""
    return [
        {
            "variant": name,
            "lowering": lenient.text(attempt.get("lowering")) or formats.ABSENT,
            "status": formats.plain(attempt.get("status")),
            "message": lenient.text(attempt.get("message")) or "",
        }
        for name, variant in _variants(report)
        for attempt in map(lenient.mapping, lenient.listing(variant.get("attempts")))
    ]


def worst_examples(report: lenient.Report) -> list[dict[str, Any]]:
    """The sample rows that differ most, per artifact, each with its inputs and the largest entries of both answers."""
    inputs = {row["id"]: row["inputs"] for row in worst_rows(report)}
    return [
        {
            "artifact": row["name"],
            "id": _row_name(example),
            "output": formats.plain(example.get("output")),
            "max_abs": formats.human_number(example.get("max_abs")),
            "inputs": inputs.get(_row_name(example), []),
            "reference": _largest(example.get("reference")),
            "candidate": _largest(example.get("candidate")),
        }
        for row in artifact_parities(report)
        for example in map(lenient.mapping, lenient.listing(row["artifact"].get("worst_examples")))
    ]


_ENTRIES_SHOWN = 3


def _largest(answer: object) -> str:
    """An answer of few entries as it is; of more, the largest with their places: `7: 0.91, 1: 0.05, 4: 0.02`."""
    texts = [formats.plain(value) for value in lenient.listing(answer)]
    numbers = [lenient.number(text) for text in texts]
    if len(texts) <= _ENTRIES_SHOWN or any(number is None or number != number for number in numbers):
        return (", " if any(": " in text for text in texts) else " ").join(texts)
    order = sorted(range(len(texts)), key=lambda place: -(numbers[place] or 0.0))[:_ENTRIES_SHOWN]
    return ", ".join(f"{place}: {texts[place]}" for place in order)


def worst_rows(report: lenient.Report) -> list[dict[str, Any]]:
    """The inputs of the rows that differ most. Images are shown only in the form that LiteFerry writes."""
    rows = []
    for entry in map(lenient.mapping, lenient.listing(report.get("worst_rows"))):
        inputs = []
        for name, value in lenient.mapping(entry.get("inputs")).items():
            shown = lenient.mapping(value)
            image = lenient.text(shown.get("image")) or ""
            values = " ".join(map(formats.plain, lenient.listing(shown.get("values"))))
            shape = " x ".join(map(formats.plain, lenient.listing(shown.get("shape"))))
            text = values or (f"{formats.plain(shown.get('dtype'))}, {shape}" if shape else "")
            inputs.append({"name": name, "image": image if _PNG.fullmatch(image) else "", "text": text})
        rows.append({"id": _row_name(entry), "inputs": inputs})
    return rows


def diverging(report: lenient.Report) -> list[dict[str, str]]:
    """Where the failed variants begin to differ, per artifact in order of execution."""
    return [
        {
            "artifact": name,
            "layers": ", ".join(map(formats.plain, lenient.listing(tensor.get("layers")))) or formats.ABSENT,
            "operator": formats.plain(tensor.get("operator")),
            "tensor": formats.plain(tensor.get("tensor")),
            "max_abs": formats.human_number(tensor.get("max_abs")),
            "relative": formats.human_number(tensor.get("relative")),
        }
        for name, variant in _variants(report)
        for tensor in map(lenient.mapping, lenient.listing(variant.get("diverging")))
    ]


def _row_name(example: Mapping[str, Any]) -> str:
    """The row's id, with its number in the samples where the id is another text: `digit-0911 (row 911)`."""
    name, place = formats.plain(example.get("id")), lenient.integer(example.get("row"))
    return name if place is None or name == str(place) else f"{name} (row {place:,})"


def side_by_side(report: lenient.Report, key: str, written: Callable[[object], str]) -> dict[str, Any]:
    """One mapping of every variant (metrics, latency, operators) as a table, nested names joined by ' / '."""
    columns = {name: dict(_leaves(variant.get(key))) for name, variant in _variants(report)}
    columns = {name: leaves for name, leaves in columns.items() if leaves}
    names = list(dict.fromkeys(leaf for leaves in columns.values() for leaf in leaves))
    rows = [{"name": name, "cells": [_written(leaves.get(name), written) for leaves in columns.values()]} for name in names]
    return {"columns": list(columns), "rows": rows}


def _written(value: object, written: Callable[[object], str]) -> str:
    return written(value) if lenient.number(value) is not None else formats.plain(value)


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, item in lenient.mapping(value).items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{name} / ")
        else:
            yield f"{prefix}{name}", item
