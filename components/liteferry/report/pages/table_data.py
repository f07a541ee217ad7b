"""Facts of a fleet -> the rows of the index page's table as its script reads them: small, since there may be tens of thousands.

A model stands once, its variants refer to it by position. Texts are made printable here; the script writes them as text, never as
HTML. Absent numbers are null, NaN and infinity the texts that name them.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.report import formats

Facts = Mapping[str, Any]

URI_CHARACTERS = 300
MESSAGE_CHARACTERS = 160
METADATA_VALUE_CHARACTERS = 80
METADATA_CHOICES = 500

MODEL_KEYS = ("id", "status", "reason", "message", "uri", "group", "metadata", "caution", "held_back")
ROW_KEYS = (
    "model",
    "variant",
    "status",
    "reason",
    "bytes",
    "worst_error",
    "agreement",
    "latency_ms",
    "recommended",
    "path",
    "metrics",
)
METRICS_SHOWN = 20


def table_data(facts: Facts) -> dict[str, Any]:
    """`{models: [[...]], rows: [[...]], metadata: [...], metrics: [...]}`, the keys of each list in `MODEL_KEYS` and `ROW_KEYS`.

    `metadata` holds the `key=value` texts that a reader may filter by, most frequent first; `metrics` the names of task metrics,
    of which a row has `[value, change, whether it is within its limit]` each. Works on facts read back from a fleet.json
    of an older version: columns that it lacks are null.
    """
    by_model: dict[tuple[str, str | None], list[Facts]] = {}
    for row in facts["rows"]:
        by_model.setdefault((row["model_id"], row["checkpoint_uri"]), []).append(row)
    models: list[list[object]] = []
    rows: list[list[object]] = []
    counts: dict[str, int] = {}
    by_key = {(model["model_id"], model["checkpoint_uri"]): model for model in facts["models"]}
    metrics = _metric_names(facts["models"])
    groups = _groups([of_model[0] for of_model in by_model.values()])
    for number, of_model in enumerate(by_model.values()):
        metadata = _metadata(of_model[0])
        for pair in metadata:
            counts[pair] = counts.get(pair, 0) + 1
        model = by_key.get((of_model[0]["model_id"], of_model[0]["checkpoint_uri"]), {})
        is_held_back = 1 if model.get("held_back") else 0
        models.append([*_model(of_model[0], groups[number], metadata), lenient.caution(model), is_held_back])
        variants = lenient.mapping(model.get("variants"))
        rows.extend(
            [*_row(number, row), _path(row), _metrics(variants.get(lenient.text(row["variant"]) or ""), metrics)]
            for row in of_model
        )
    choices = sorted(counts, key=lambda pair: (-counts[pair], pair))[:METADATA_CHOICES]
    return {
        "models": models,
        "rows": rows,
        "metadata": choices,
        "metrics": [formats.single_line(name, limit=120) for name in metrics],
    }


def _metric_names(models: Sequence[Facts]) -> list[str]:
    """Names of the models' task metrics, most frequent first."""
    counts: dict[str, int] = {}
    for model in models:
        for variant in map(lenient.mapping, lenient.mapping(model.get("variants")).values()):
            for name in lenient.mapping(variant.get("metrics")):
                counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))[:METRICS_SHOWN]


def _metrics(variant: object, names: Sequence[str]) -> list[list[object]] | None:
    found = lenient.mapping(lenient.mapping(variant).get("metrics"))
    if not found:
        return None
    facts = [lenient.mapping(found.get(name)) for name in names]
    return [
        [_digits(lenient.number(one.get("value"))), _digits(lenient.number(one.get("change"))), one.get("is_within")]
        for one in facts
    ]


def _path(row: Facts) -> str | None:
    """The recommended file, relative to the model's folder."""
    path = lenient.text(row.get("path")) if row["recommended"] else None
    return path.split("/", 2)[2] if path is not None and path.count("/") > 2 else None


def json_block(value: object) -> str:
    """JSON for a `<script type="application/json">` block: nothing in it can end the block or begin a comment."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError):  # a number that JSON cannot hold, or a key that is no text
        text = json.dumps(lenient.finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _model(row: Facts, group: str, metadata: Sequence[str]) -> list[object]:
    return [
        formats.printable(lenient.text(row["model_id"]) or ""),
        row["status"],
        _short(row.get("model_reason_code")),
        formats.single_line(row.get("model_reason_message"), limit=MESSAGE_CHARACTERS),
        formats.single_line(row["checkpoint_uri"], limit=URI_CHARACTERS),
        group,
        list(metadata),
    ]


def _row(model: int, row: Facts) -> list[object]:
    status = row["variant_status"] if row["variant"] is not None else None
    reason = row["reason_code"] if status != "blessed" else None
    agreement = lenient.number(row.get("min_argmax_agreement"))
    return [
        model,
        _short(row["variant"]),
        status,
        _short(reason),
        lenient.integer(row["bytes"]),
        _digits(lenient.number(row["worst_max_abs"])),
        agreement if agreement is None or not math.isfinite(agreement) else math.floor(agreement * 1e6 + 1e-6) / 1e6,
        _digits(lenient.number(row.get("latency_ms"))),
        1 if row["recommended"] else 0,
    ]


def _digits(value: float | None) -> float | None:
    """Four significant digits: what the page shows, at half the bytes."""
    return value if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _short(value: object) -> str | None:
    return None if value is None else formats.single_line(value, limit=120)


def _metadata(row: Facts) -> list[str]:
    """`key=value` for each entry of the job's metadata; a nested value as JSON."""
    try:
        found = lenient.mapping(json.loads(row.get("metadata_json") or "{}"))
    except ValueError:
        return []
    return [formats.single_line(f"{key}={formats.plain(value)}", limit=METADATA_VALUE_CHARACTERS) for key, value in found.items()]


def _groups(firsts: Sequence[Facts]) -> list[str]:
    """The folder that each checkpoint lies in, below the folder that all of them share."""
    folders = [posixpath.dirname((lenient.text(row["checkpoint_uri"]) or "").rstrip("/")) for row in firsts]
    parts = [folder.split("/") for folder in folders]
    shared = 0
    while parts and all(len(part) > shared + 1 and part[: shared + 1] == parts[0][: shared + 1] for part in parts):
        shared += 1
    return [formats.single_line("/".join(part[shared:]), limit=120) for part in parts]
