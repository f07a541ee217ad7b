"""A blessed model's in-toto statement: the digest of every file in its folder, and what was proven about them.

The form is in-toto's Statement v1: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The same report and the
same files give the same bytes: there is no date in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from liteferry import lenient
from liteferry.parity.gate_limits import SAVED_MODEL

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:liteferry:parity:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def statement(report: lenient.Report, digests: Mapping[str, str]) -> bytes:
    """One line of JSON.

    Args:
      digests: path of each file, relative to the model's folder -> its sha256 in hex; the statement's own is not among them.
    """
    content = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate(report),
    }
    return json.dumps(lenient.finite(content), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def predicate(report: lenient.Report) -> dict[str, Any]:
    """The statement's predicate: what was proven, by which libraries, on which rows; the report's own facts under its own
    names.
    """
    checkpoint = lenient.mapping(report.get("checkpoint"))
    samples = lenient.mapping(report.get("samples"))
    parts = {SAVED_MODEL: report.get(SAVED_MODEL), **lenient.mapping(report.get("variants"))}
    return {
        "model_id": report.get("model_id"),
        "version": report.get("version"),
        "status": report.get("status"),
        "checkpoint": {key: checkpoint.get(key) for key in ("uri", "kind", "digest", "bytes", "architecture_digest")},
        "rows": {key: samples.get(key) for key in ("name", "row_count", "digest")},
        "recipe": {key: report.get(key) for key in ("recipe_digest", "work_digest", "export_digest", "rules_version")},
        "code": lenient.listing(checkpoint.get("custom_objects")),
        "required_variants": lenient.listing(report.get("required_variants")),
        "recommended_variant": report.get("recommended_variant"),
        "artifacts": {name: _artifact(lenient.mapping(part)) for name, part in parts.items()},
        "versions": lenient.mapping(report.get("environment")),
    }


def _artifact(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": part.get("path"),
        "status": part.get("status"),
        "gates": lenient.listing(part.get("gates")),
        "metrics": lenient.mapping(part.get("metrics")),
    }
