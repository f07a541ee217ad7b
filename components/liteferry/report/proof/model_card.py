"""A model's card, `model_card.md`: what the model is, what was proven about it and where it is weak, for users of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from liteferry import lenient
from liteferry.parity.gate_limits import SAVED_MODEL
from liteferry.report import formats
from liteferry.report.pages.model_view import verdict_sentence

_SLICES_SHOWN = 20
_MOST_CHARS = 300
_FILE_HEADS = ("artifact", "verdict", "file", "size", "rows", "largest difference", "same top class")


def model_card(report: lenient.Report) -> bytes:
    """The card as Markdown. Texts of the report cannot become markup in it."""
    parts = (
        _head(report),
        _table("Files", _FILE_HEADS, _artifacts(report)),
        _table("Inputs and outputs", ("name", "direction", "type", "shape"), _tensors(report)),
        _table("Task metrics", ("metric", "checkpoint", *_names(report)), _metrics(report)),
        _table("Gates", ("artifact", "output", "metric", "limit", "observed", "met"), _gates(report)),
        _list("Limits", map(_text, lenient.listing(report.get("warnings")))),
        _list("Where it comes from", _origin(report)),
        _list("Metadata", (f"{_text(key)}: {_text(value)}" for key, value in lenient.mapping(report.get("metadata")).items())),
    )
    return "\n".join(part for part in parts if part).encode("utf-8", "backslashreplace")


def _head(report: lenient.Report) -> str:
    recommended = report.get("recommended_variant")
    lines = [f"# {_text(report.get('model_id'))}", "", _text(verdict_sentence(report))]
    if recommended:
        lines += ["", f"Recommended: {_text(recommended)}, the smallest variant that is worth it."]
    return "\n".join([*lines, ""])


def _parts(report: lenient.Report) -> dict[str, dict[str, Any]]:
    variants = lenient.mapping(report.get("variants"))
    named = {name: variants[name] for name in lenient.ordered_variants(variants)}
    return {name: lenient.mapping(part) for name, part in {SAVED_MODEL: report.get(SAVED_MODEL), **named}.items()}


def _names(report: lenient.Report) -> list[str]:
    return [name for name, part in _parts(report).items() if lenient.mapping(part.get("metrics"))]


def _artifacts(report: lenient.Report) -> Iterator[tuple[object, ...]]:
    for name, part in _parts(report).items():
        parity = part.get("fidelity" if name == SAVED_MODEL else "parity")
        counts = [lenient.integer(count) for count in lenient.over_outputs(parity, "example_count")]
        yield (
            name,
            formats.STATUS_WORDS[lenient.status(part.get("status"))],
            part.get("path") or formats.ABSENT,
            formats.human_bytes(part.get("bytes")),
            formats.human_number(min((count for count in counts if count is not None), default=None)),
            formats.human_number(lenient.worst(lenient.over_outputs(parity, "max_abs"))),
            formats.human_share(lenient.worst(lenient.over_outputs(parity, "argmax_agreement"), lower_is_worse=True)),
        )


def _tensors(report: lenient.Report) -> Iterator[tuple[object, ...]]:
    saved = lenient.mapping(report.get(SAVED_MODEL))
    signature = lenient.mapping(lenient.mapping(saved.get("signatures")).get(str(saved.get("signature"))))
    for side in ("inputs", "outputs"):
        for spec in map(lenient.mapping, lenient.listing(signature.get(side))):
            shape = spec.get("shape")
            sizes = "any" if shape is None else " x ".join("?" if size is None else str(size) for size in lenient.listing(shape))
            yield spec.get("name"), side[:-1], spec.get("dtype"), sizes


def _metrics(report: lenient.Report) -> Iterator[tuple[object, ...]]:
    """The metrics over all rows, then by slice, the checkpoint's beside those of each artifact."""
    metrics, parts, names = lenient.mapping(report.get("metrics")), _parts(report), _names(report)
    slices = list(lenient.mapping(metrics.get("slices")).items())[:_SLICES_SHOWN]
    for where, found in (("", metrics.get("reference")), *slices):
        for metric, facts in lenient.mapping(found).items():
            own = []
            for name in names:
                of_slices = lenient.mapping(parts[name].get("metric_slices")).get(where)
                of_part = lenient.mapping(of_slices if where else parts[name].get("metrics"))
                own.append(formats.human_number(lenient.mapping(of_part.get(metric)).get("value")))
            told = f"{metric}, {where}" if where else metric
            yield told, formats.human_number(lenient.mapping(facts).get("value")), *own


def _gates(report: lenient.Report) -> Iterator[tuple[object, ...]]:
    for name, part in _parts(report).items():
        for gate in map(lenient.mapping, lenient.listing(part.get("gates"))):
            limit, observed = gate.get("limit"), formats.beside_limit(gate.get("observed"), gate.get("limit"))
            is_met = "yes" if gate.get("is_within") is True else "no"
            yield name, gate.get("output"), gate.get("metric"), formats.exact_number(limit), observed, is_met


def _origin(report: lenient.Report) -> Iterator[str]:
    checkpoint, samples = lenient.mapping(report.get("checkpoint")), lenient.mapping(report.get("samples"))
    yield f"checkpoint: {_text(checkpoint.get('uri'))}, {_text(checkpoint.get('kind'))}, {_text(checkpoint.get('digest'))}"
    if samples:
        rows = lenient.integer(samples.get("row_count")) or 0
        yield f"rows: {_text(samples.get('name'))}, {formats.counted(rows, 'row')}, {_text(samples.get('digest'))}"
    for custom in map(lenient.mapping, lenient.listing(checkpoint.get("custom_objects"))):
        yield f"code: {_text(custom.get('name'))} of {_text(custom.get('module'))}, {_text(custom.get('source_digest'))}"
    yield f"recipe: {_text(report.get('recipe_digest'))}"
    versions = {key: value for key, value in lenient.mapping(report.get("environment")).items() if value is not None}
    yield "made with: " + ", ".join(f"{_text(name)} {_text(value)}" for name, value in versions.items())


def _table(title: str, heads: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> str:
    lines = [" | ".join(map(_text, row)) for row in rows]
    if not lines:
        return ""
    head = [f"## {title}", "", f"| {' | '.join(map(_text, heads))} |", f"|{' --- |' * len(heads)}"]
    return "\n".join([*head, *(f"| {line} |" for line in lines), ""])


def _list(title: str, items: Iterator[str]) -> str:
    lines = [f"- {item}" for item in items]
    return "\n".join([f"## {title}", "", *lines, ""]) if lines else ""


def _text(value: object) -> str:
    """A text on one line in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", formats.single_line(formats.plain(value), limit=_MOST_CHARS))
