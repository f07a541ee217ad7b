"""One model's report as text for a terminal: the verdict, why, every artifact, what is recommended, and its warnings."""

from __future__ import annotations

from collections.abc import Iterator

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.formats import printable, single_line
from liteferry.report.hints import NO_HINT, hint_for
from liteferry.report.pages import tables

_WARNINGS_SHOWN = 20
_MOST_OF_A_REASON = 4000  # the fix stands at its end


def model_text(report: lenient.Report, folder: str) -> str:
    """The most important facts of a model for a person. `folder`: the folder of the report and the artifacts."""
    checkpoint = lenient.mapping(report.get("checkpoint"))
    kind = lenient.text(checkpoint.get("kind"))
    verdict = formats.STATUS_WORDS[lenient.model_status(report)]
    lines = [f"{single_line(report.get('model_id')) or '(no id)'}: {verdict}"]
    lines += [f"checkpoint: {single_line(checkpoint.get('uri'), limit=400)}{f' ({single_line(kind)})' if kind else ''}"]
    lines += _reason(report.get("reason"))
    lines += _artifacts(report)
    recommended = lenient.text(report.get("recommended_variant"))
    lines += [f"recommended: {single_line(recommended)}"] if recommended else []
    warnings = [single_line(warning, limit=400) for warning in lenient.listing(report.get("warnings"))]
    lines += [f"warning: {warning}" for warning in warnings[:_WARNINGS_SHOWN]]
    lines += [f"and {len(warnings) - _WARNINGS_SHOWN} more warnings"] if len(warnings) > _WARNINGS_SHOWN else []
    return "\n".join([*lines, f"folder: {folder}"])


def _reason(value: object) -> Iterator[str]:
    reason = lenient.reason(value)
    if not reason:
        return
    stage = f" in {single_line(reason['stage'])}" if reason["stage"] else ""
    yield f"reason: {single_line(reason['code'])}{stage}"
    yield from (f"  {line}" for line in printable(reason["message"] or "").splitlines() if line.strip())
    hint = hint_for(reason["code"])
    if hint != NO_HINT:
        yield f"  Try: {hint.replace('`', '')}"


def _artifacts(report: lenient.Report) -> Iterator[str]:
    """A line for each artifact, with its reason if it differs from the model's."""
    rows = tables.artifact_parities(report)
    width = max((len(single_line(row["name"])) for row in rows), default=0)
    of_model = lenient.reason(report.get("reason"))
    for row in rows:
        artifact = row["artifact"]
        words = formats.STATUS_WORDS[lenient.status(artifact.get("status"))]
        size = formats.human_bytes(artifact.get("bytes")) if artifact.get("bytes") is not None else ""
        largest = f"largest difference {formats.human_number(row['max_abs'])}" if row["max_abs"] is not None else ""
        yield f"  {single_line(row['name']):<{width}}  {words:<12}  {size:>9}  {largest}".rstrip()
        reason = lenient.reason(artifact.get("reason"))
        if reason and reason != of_model:
            yield f"  {'':<{width}}  {single_line(reason['code'])}: {single_line(reason['message'], limit=_MOST_OF_A_REASON)}"
