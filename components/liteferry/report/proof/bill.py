"""A model's bill of materials, `model.cdx.json`: CycloneDX's form with a model card, https://cyclonedx.org/docs/1.6/json.

The model is the subject; its files, the checkpoint and the rows are components with their digests, and the libraries that made
it are tools.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from liteferry import lenient
from liteferry.json_records import in_lines
from liteferry.parity.gate_limits import SAVED_MODEL
from liteferry.report.environment import LIBRARIES

_NAMESPACE = uuid.UUID("5b0a1d4e-7c6f-5f43-9d0a-6c1e0f5f2a11")
_METRICS_SHOWN = 2000  # performance metrics; a job may have thousands of slices
_MOST_CHARS = 500


def bill(report: lenient.Report) -> bytes:
    """The bill as JSON, the same bytes for the same report."""
    model_id = lenient.text(report.get("model_id")) or ""
    checkpoint = lenient.mapping(report.get("checkpoint"))
    version = str(report.get("version"))
    known_by = f"{model_id} {checkpoint.get('digest')} {version} {report.get('recipe_digest')}"
    serial = uuid.uuid5(_NAMESPACE, lenient.text(known_by) or "")
    content = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "tools": {"components": list(_tools(lenient.mapping(report.get("environment"))))},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": model_id,
                "version": version,
                "modelCard": _model_card(report),
                "properties": list(_properties(report)),
            },
        },
        "components": [*_checkpoint(checkpoint), *_rows(report), *_files(report)],
        "dependencies": [{"ref": "model", "dependsOn": ["checkpoint"] if checkpoint.get("uri") else []}],
    }
    return in_lines(lenient.mapping(lenient.finite(content)))


def _tools(versions: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, name in {"liteferry": "liteferry", **LIBRARIES}.items():
        if versions.get(key):
            yield {
                "type": "library",
                "name": name,
                "version": str(versions[key]),
                "purl": f"pkg:pypi/{name.replace('_', '-')}@{versions[key]}",
            }


def _checkpoint(checkpoint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if checkpoint.get("uri"):
        properties = [("bytes", checkpoint.get("bytes")), ("kind", checkpoint.get("kind")), ("digest", checkpoint.get("digest"))]
        yield {
            "type": "file",
            "bom-ref": "checkpoint",
            "name": _short(checkpoint["uri"]),
            "properties": _named("checkpoint", properties),
        }


def _rows(report: lenient.Report) -> Iterator[dict[str, Any]]:
    samples = lenient.mapping(report.get("samples"))
    if samples.get("name"):
        properties = [("rows", samples.get("row_count")), ("digest", samples.get("digest")), ("path", samples.get("path"))]
        yield {
            "type": "data",
            "bom-ref": "rows",
            "name": _short(samples["name"]),
            "properties": _named("rows", properties),
        }


def _files(report: lenient.Report) -> Iterator[dict[str, Any]]:
    for name, facts in sorted(lenient.mapping(report.get("files")).items()):
        digest = (lenient.text(lenient.mapping(facts).get("sha256")) or "").removeprefix("sha256:")
        yield {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": _short(name),
            **({"hashes": [{"alg": "SHA-256", "content": digest}]} if len(digest) == 64 else {}),
        }


def _properties(report: lenient.Report) -> Iterator[dict[str, str]]:
    yield from _named("", [(key, report.get(key)) for key in ("status", "recommended_variant", "recipe_digest", "export_digest")])
    yield from _named("metadata", list(lenient.mapping(report.get("metadata")).items()))


def _named(group: str, pairs: list[tuple[str, Any]]) -> list[dict[str, str]]:
    place = f"liteferry:{group}:" if group else "liteferry:"
    return [{"name": f"{place}{key}", "value": _short(value)} for key, value in pairs if value is not None]


def _model_card(report: lenient.Report) -> dict[str, Any]:
    saved = lenient.mapping(report.get(SAVED_MODEL))
    signature = lenient.mapping(lenient.mapping(saved.get("signatures")).get(str(saved.get("signature"))))
    sides = {
        f"{side}s": [{"format": _format(lenient.mapping(spec))} for spec in lenient.listing(signature.get(f"{side}s"))]
        for side in ("input", "output")
    }
    kind = lenient.text(lenient.mapping(report.get("checkpoint")).get("kind"))
    metrics = list(_metrics(report))
    return {
        "modelParameters": {
            **({"modelArchitecture": _short(kind)} if kind else {}),
            **({"datasets": [{"ref": "rows"}]} if lenient.mapping(report.get("samples")).get("name") else {}),
            **sides,
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics[:_METRICS_SHOWN]},
        "considerations": {"technicalLimitations": [_short(warning) for warning in lenient.listing(report.get("warnings"))]},
    }


def _format(spec: Mapping[str, Any]) -> str:
    shape = spec.get("shape")
    sizes = "any shape" if shape is None else "x".join("?" if size is None else str(size) for size in lenient.listing(shape))
    return _short(f"{spec.get('name')}: {spec.get('dtype')} {sizes}")


def _metrics(report: lenient.Report) -> Iterator[dict[str, Any]]:
    """Task metrics of the checkpoint and of every artifact, over all rows and by slice; then the gates of every artifact."""
    metrics = lenient.mapping(report.get("metrics"))
    for where, found in (("", metrics.get("reference")), *lenient.mapping(metrics.get("slices")).items()):
        yield from _of(lenient.mapping(found), of="checkpoint", where=where)
    parts = {SAVED_MODEL: report.get(SAVED_MODEL), **lenient.mapping(report.get("variants"))}
    for name, part in parts.items():
        facts = lenient.mapping(part)
        for where, found in (("", facts.get("metrics")), *lenient.mapping(facts.get("metric_slices")).items()):
            yield from _of(lenient.mapping(found), of=name, where=where)
        for gate in map(lenient.mapping, lenient.listing(facts.get("gates"))):
            if gate.get("observed") is not None:
                kind = f"{name}: {gate.get('metric')} of {gate.get('output')}, limit {gate.get('limit')}"
                yield {"type": _short(kind), "value": str(gate["observed"])}


def _of(metrics: Mapping[str, Any], *, of: str, where: str) -> Iterator[dict[str, Any]]:
    for metric, facts in metrics.items():
        value, interval = lenient.mapping(facts).get("value"), lenient.listing(lenient.mapping(facts).get("interval"))
        if value is None:
            continue
        bounds = dict(zip(("lowerBound", "upperBound"), map(str, interval), strict=False))
        yield {
            "type": _short(f"{of}: {metric}"),
            "value": str(value),
            **({"slice": _short(where)} if where else {}),
            **({"confidenceInterval": bounds} if len(bounds) == 2 else {}),
        }


def _short(value: object) -> str:
    return (lenient.text(value) or "")[:_MOST_CHARS]
