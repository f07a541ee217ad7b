"""Reports -> the facts of a fleet: one row per model and variant, totals, and the files at the top of the output.

Facts contain no timestamps except under `run`, and are in order of model ids, so the same reports give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from liteferry import lenient
from liteferry.report import records
from liteferry.report.arrow_rows import table_of
from liteferry.report.pages.render import render_index, write_assets
from liteferry.storage import beneath, layout
from liteferry.types import Status

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1

COLUMNS: Mapping[str, str] = {
    "model_id": "string",
    "checkpoint_uri": "string",
    "checkpoint_digest": "string",
    "checkpoint_bytes": "int64",
    "kind": "string",
    "keras_version": "string",
    "architecture_digest": "string",
    "status": "string",
    "model_reason_code": "string",
    "model_reason_message": "string",
    "saved_model_path": "string",
    "saved_model_bytes": "int64",
    "saved_model_max_abs": "float64",
    "variant": "string",
    "variant_status": "string",
    "reason_code": "string",
    "reason_stage": "string",
    "reason_message": "string",
    "path": "string",
    "bytes": "int64",
    "batch": "string",
    "worst_max_abs": "float64",
    "worst_max_rel": "float64",
    "min_cosine": "float64",
    "min_argmax_agreement": "float64",
    "nonfinite_mismatch": "int64",
    "example_count": "int64",
    "latency_ms": "float64",
    "required": "bool",
    "recommended": "bool",
    "samples": "string",
    "seconds": "float64",
    "metadata_json": "string",
}
"""The columns of fleet.parquet in their order, each with the name of its Arrow type. Paths are relative to the output folder."""


def fleet_rows(report: lenient.Report) -> list[dict[str, Any]]:
    """One row per variant, in the order of the ladder; one with `variant` None for a model that has none.

    `reason_*` is the variant's own reason. A variant that is not blessed and has none of its own takes the model's, as does
    the row of a model without variants. `worst_*` and `min_*` are taken over the model's outputs.
    """
    model = _model_columns(report)
    variants = lenient.mapping(report.get("variants"))
    model_reason = lenient.reason(report.get("reason"))
    if not variants:
        return [_row(model | _reason_columns(model_reason) | {"recommended": False})]
    recommended = lenient.text(report.get("recommended_variant"))
    rows = []
    for name in lenient.ordered_variants(variants):
        variant = lenient.mapping(variants[name])
        blessed = lenient.status(variant.get("status")) is Status.BLESSED
        own = lenient.reason(variant.get("reason")) or (None if blessed else model_reason)
        columns = _variant_columns(variant, model_id=model["model_id"])
        named = {"variant": lenient.text(name), "required": lenient.required(report, name), "recommended": name == recommended}
        rows.append(_row(model | columns | _reason_columns(own) | named))
    return rows


def _row(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: columns.get(name) for name in COLUMNS}


def _model_columns(report: lenient.Report) -> dict[str, Any]:
    checkpoint = lenient.mapping(report.get("checkpoint"))
    saved_model = lenient.mapping(report.get("saved_model"))
    model_id = lenient.text(report.get("model_id")) or ""
    reason = lenient.reason(report.get("reason")) or {}
    return {
        "model_id": model_id,
        "checkpoint_uri": lenient.text(checkpoint.get("uri")),
        "checkpoint_digest": lenient.text(checkpoint.get("digest")),
        "checkpoint_bytes": lenient.integer(checkpoint.get("bytes")),
        "kind": lenient.text(checkpoint.get("kind")),
        "keras_version": lenient.text(checkpoint.get("keras_version")),
        "architecture_digest": lenient.text(checkpoint.get("architecture_digest")),
        "status": lenient.model_status(report).value,
        "model_reason_code": reason.get("code"),
        "model_reason_message": reason.get("message"),
        "saved_model_path": _path_in_output(model_id, saved_model.get("path")),
        "saved_model_bytes": lenient.integer(saved_model.get("bytes")),
        "saved_model_max_abs": lenient.worst(lenient.over_outputs(saved_model.get("fidelity"), "max_abs")),
        "samples": lenient.text(lenient.mapping(report.get("samples")).get("name")),
        "seconds": lenient.seconds(report),
        "metadata_json": _strict_json(lenient.mapping(report.get("metadata"))),
    }


def _variant_columns(variant: Mapping[str, Any], *, model_id: str) -> dict[str, Any]:
    parity = variant.get("parity")
    counts = [lenient.integer(count) for count in lenient.over_outputs(parity, "example_count")]
    mismatches = [lenient.integer(count) for count in lenient.over_outputs(parity, "nonfinite_mismatch")]
    known_mismatches = [count for count in mismatches if count is not None]
    return {
        "variant_status": lenient.status(variant.get("status")).value,
        "path": _path_in_output(model_id, variant.get("path")),
        "bytes": lenient.integer(variant.get("bytes")),
        "batch": lenient.text(variant.get("batch")),
        "worst_max_abs": lenient.worst(lenient.over_outputs(parity, "max_abs")),
        "worst_max_rel": lenient.worst(lenient.over_outputs(parity, "max_rel")),
        "min_cosine": lenient.worst(lenient.over_outputs(parity, "cosine"), lower_is_worse=True),
        "min_argmax_agreement": lenient.worst(lenient.over_outputs(parity, "argmax_agreement"), lower_is_worse=True),
        "nonfinite_mismatch": sum(known_mismatches) if known_mismatches else None,
        "example_count": min((count for count in counts if count is not None), default=None),
        "latency_ms": lenient.latency_ms(variant.get("latency_ms")),
    }


def _reason_columns(reason: Mapping[str, str | None] | None) -> dict[str, Any]:
    return {f"reason_{key}": (reason or {}).get(key) for key in ("code", "stage", "message")}


def _path_in_output(model_id: str, path: object) -> str | None:
    """A path that the report gives relative to the model's folder, made relative to the output folder."""
    relative = lenient.text(path)
    return f"{layout.MODELS}/{model_id}/{relative}" if relative else None


def fleet_facts(
    reports: Iterable[lenient.Report], *, job: Mapping[str, Any] | None = None, changes: Mapping[str, Any] | None = None
) -> records.FleetReport:
    """The data of the fleet's files and tables: `schema_version, totals, models, rows, changes, run`. Plain JSON.

    `reports` is read once and not kept, so a generator over a large fleet is fine. `job` stands under `run` as it is given.
    """
    models, rows, searches = [], [], []
    for report in reports:
        searches.append(lenient.mapping(lenient.mapping(lenient.mapping(report.get("variants")).get("auto")).get("auto")))
        of_model = fleet_rows(report)
        rows.extend(of_model)
        models.append(_summary(report, of_model))
    models.sort(key=_order)
    rows.sort(key=_order)  # stable, so a model's variants stay in the order of the ladder
    return {
        "schema_version": SCHEMA_VERSION,
        "totals": {**_totals(models), "auto": _searches(searches)},
        "models": models,
        "rows": rows,
        "changes": dict(changes) if changes is not None else None,
        "run": dict(job) if job else None,
    }


def _order(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["model_id"], entry["checkpoint_uri"] or ""


def model_summary(report: lenient.Report) -> records.ModelSummary:
    """One entry of `models` in fleet.json."""
    return _summary(report, fleet_rows(report))


def _summary(report: lenient.Report, rows: Sequence[Mapping[str, Any]]) -> records.ModelSummary:
    first = rows[0]
    short = ("path", "bytes", "batch", "worst_max_abs", "min_argmax_agreement", "example_count", "latency_ms")
    return {
        "model_id": first["model_id"],
        "checkpoint_uri": first["checkpoint_uri"],
        "kind": first["kind"],
        "status": first["status"],
        "reason": cast("records.ReasonFacts | None", lenient.reason(report.get("reason"))),
        "recommended_variant": lenient.text(report.get("recommended_variant")),
        "saved_model": _saved_model_summary(first),
        "variants": {
            row["variant"]: cast(
                "records.VariantSummary",
                {"status": row["variant_status"], "reason": _reason_of_row(row)}
                | {key: row[key] for key in short}
                | {"metrics": _metrics(report, row["variant"])},
            )
            for row in rows
            if row["variant"] is not None
        },
        "warnings": [cast("str", lenient.text(warning)) for warning in lenient.listing(report.get("warnings"))],
        "held_back": lenient.mapping(report.get("held_back")) or None,
    }


def _metrics(report: lenient.Report, variant: str) -> dict[str, dict[str, Any]]:
    """Task metrics of a variant over all rows."""
    part = lenient.mapping(lenient.mapping(report.get("variants")).get(variant))
    return {
        name: {
            "value": lenient.number(facts.get("value")),
            "change": lenient.number(facts.get("change")),
            "is_within": facts.get("is_within"),
        }
        for name, facts in ((name, lenient.mapping(facts)) for name, facts in lenient.mapping(part.get("metrics")).items())
    }


def _saved_model_summary(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row["saved_model_path"] is None:
        return None
    return {"path": row["saved_model_path"], "bytes": row["saved_model_bytes"], "max_abs": row["saved_model_max_abs"]}


def _reason_of_row(row: Mapping[str, Any]) -> dict[str, str | None] | None:
    found = {key: row[f"reason_{key}"] for key in ("code", "stage", "message")}
    return found if any(value is not None for value in found.values()) else None


def _totals(models: Sequence[records.ModelSummary]) -> records.Totals:
    verdicts = Counter(model["status"] for model in models)
    shortfalls = [model for model in models if model["status"] != Status.BLESSED.value]
    codes = Counter((model["reason"]["code"] if model["reason"] else None) or "UNSTATED" for model in shortfalls)
    by_variant: dict[str, Counter[str]] = {}
    for model in models:
        for name, variant in model["variants"].items():
            by_variant.setdefault(name, Counter())[variant["status"]] += 1
    return {
        "models": len(models),
        "blessed": verdicts[Status.BLESSED.value],
        "not_blessed": verdicts[Status.NOT_BLESSED.value],
        "failed": verdicts[Status.FAILED.value],
        "by_reason": dict(sorted(codes.items())),
        "by_variant": {
            name: {verdict.value: by_variant[name][verdict.value] for verdict in Status}
            for name in lenient.ordered_variants(by_variant)
        },
    }


def _searches(found: Iterable[Mapping[str, Any]]) -> records.AutoTotals:
    return search_totals(
        (lenient.integer(facts.get("candidates")) or 0, bool(facts.get("from_family"))) for facts in found if facts
    )


def search_totals(counts: Iterable[tuple[int, bool]]) -> records.AutoTotals:
    """The cost of the searches for `auto`, and the savings of families: a sibling that took its family's mix is counted as
    saving the average number of files of a search. `counts`: files made, and whether a sibling's mix was taken, of each model.
    """
    every = list(counts)
    alone = [count for count, is_of_family in every if not is_of_family]
    of_family = [count for count, is_of_family in every if is_of_family]
    average = sum(alone) / len(alone) if alone else 0.0
    return {
        "searched": len(alone),
        "from_family": len(of_family),
        "candidates": sum(alone) + sum(of_family),
        "candidates_saved": max(0, round(average * len(of_family) - sum(of_family))),
    }


def fleet_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows as an Arrow table of `COLUMNS`, with that schema also for no rows at all."""
    import pyarrow as pa

    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema([pa.field(name, types[kind], nullable=name != "model_id") for name, kind in COLUMNS.items()])
    readers: dict[str, Callable[[object], object]] = {
        "string": lenient.text,
        "int64": lenient.integer,
        "float64": lenient.number,
        "bool": _flag,
    }
    return table_of([{name: readers[kind](row.get(name)) for name, kind in COLUMNS.items()} for row in rows], schema)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def write_fleet(out: str, facts: Mapping[str, Any]) -> None:
    """Writes fleet.json, fleet.parquet, the pages' shared assets and, last, index.html into the folder `out`; each is replaced
    whole.
    """
    import pyarrow as pa
    import pyarrow.parquet

    page = render_index(facts).encode("utf-8", "backslashreplace")
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(fleet_table(facts["rows"]), sink)
    beneath.write_bytes(out, layout.FLEET_FACTS, as_json(facts))
    beneath.write_bytes(out, layout.FLEET_TABLE, sink.getvalue().to_pybytes())
    write_assets(out)
    beneath.write_bytes(out, layout.INDEX, page)


def as_json(facts: Mapping[str, Any]) -> bytes:
    """fleet.json's bytes."""
    return _strict_json(facts, indent=1).encode() + b"\n"


def _strict_json(value: object, *, indent: int | None = None) -> str:
    """JSON that every parser takes, the same text for the same value: NaN and infinity become the texts that name them."""
    return json.dumps(lenient.finite(value), ensure_ascii=True, allow_nan=False, indent=indent, default=str)
