"""A report -> the content of a model's page as plain values; the template only lays them out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from liteferry import lenient
from liteferry.errors import ReasonCode
from liteferry.report import formats
from liteferry.report.hints import hint_for
from liteferry.report.pages import choices, tables
from liteferry.report.pages.metric_tables import metric_tables
from liteferry.report.pages.model_charts import errors_by_operator, flips, model_charts, slices
from liteferry.report.pages.snippets import commands, snippets
from liteferry.report.recommend import passed_over_in_words
from liteferry.storage import layout
from liteferry.types import Status

_SAVED_MODEL_FACTS = ("path", "bytes", "deterministic", "oracle")


def model_view(report: lenient.Report) -> dict[str, Any]:
    """The verdict, its grounds, and the facts; sections without content are empty and not shown."""
    verdict = lenient.model_status(report)
    reason = explained(report.get("reason"))
    view = {
        "id": lenient.text(report.get("model_id")) or "(no id)",
        "badge": badge(verdict.value),
        "verdict": verdict_sentence(report),
        "numbers": numbers(report),
        "beside": _beside(report),
        "is_missed": any(not gate["is_within"] for gate in tables.gates(report)),
        "reason": None if verdict is Status.BLESSED else reason,
        "held_back": _held_back(report),
        "takes_back": lenient.text(lenient.mapping(report.get("takes_back")).get("why")),
        "silent": verdict is not Status.BLESSED and reason is None,
        "artifacts": _artifacts(report),
        "smaller": passed_over_in_words(report),
        "problems": _problems(report, reason),
        "parity": tables.parity(report),
        "commands": commands(report),
        "charts": model_charts(report),
        "flips": flips(report),
        "slices": slices(report),
        "snippets": snippets(report),
        "gates": tables.gates(report),
        "noise": noise_notes(report),
        "contracts": tables.contracts(report),
        "attempts": tables.attempts(report),
        "targets": choices.targets(report),
        "auto": choices.auto(report),
        "caution": lenient.caution(report),
        "warnings": [lenient.text(warning) for warning in lenient.listing(report.get("warnings")) if warning is not None],
        "worst_examples": tables.worst_examples(report),
        "diverging": tables.diverging(report),
        "errors_by_operator": errors_by_operator(report),
        "metrics": metric_tables(report),
        "latency": tables.side_by_side(report, "latency_ms", formats.human_number),
        "operators": tables.side_by_side(report, "ops", formats.human_number),
        "facts": _facts(report),
    }
    return view | {"contents": _contents(view)}


def _held_back(report: lenient.Report) -> dict[str, Any] | None:
    """Since when the last blessed folder is kept in place of this attempt; None if it is not."""
    held = lenient.mapping(report.get("held_back"))
    if not held:
        return None
    model_id = lenient.text(report.get("model_id")) or ""
    return {
        "since": formats.single_line(held.get("since")),
        "version": lenient.integer(lenient.mapping(held.get("kept")).get("version")),
        "href": f"../../models/{quote(model_id, safe='')}/report.html",
    }


def _contents(view: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """The page's sections as `(id, title, whether it is there)`."""
    return [
        ("artifacts", "What was made", bool(view["artifacts"])),
        ("gates", "Gates", bool(view["gates"])),
        ("parity", "Parity", bool(view["parity"])),
        ("metrics", "Task metrics", bool(view["metrics"]["tables"] or view["metrics"]["notes"])),
        ("load", "Load it", bool(view["snippets"])),
    ]


def verdict_sentence(report: lenient.Report) -> str:
    """The verdict in one short sentence."""
    verdict = lenient.model_status(report)
    reason = lenient.reason(report.get("reason")) or {}
    stage = formats.STAGE_WORDS.get(reason.get("stage") or "")
    if verdict is Status.FAILED:
        return f"Failed while {stage}: there is nothing to ship." if stage else "Failed: there is nothing to ship."
    names = lenient.mapping(report.get("variants"))
    passed = [name for name in names if lenient.status(lenient.mapping(names[name]).get("status")) is Status.BLESSED]
    if verdict is Status.BLESSED:
        return f"Blessed: {_what_is_proven(report, blessed=len(passed), of=len(names))}."
    saved_model = lenient.mapping(report.get("saved_model"))
    if saved_model.get("status") is not None and lenient.status(saved_model["status"]) is not Status.BLESSED:
        if lenient.mapping(saved_model.get("reason")).get("code") == ReasonCode.METRIC_DROP.value:
            return "Not blessed: the SavedModel computes what the checkpoint computes, and a task metric is outside its limit."
        return "Not blessed: the SavedModel is not proven to compute what the checkpoint computes."
    if names and passed:
        return f"Not blessed: {len(passed)} of {formats.counted(len(names), 'variant')} stayed within the gates."
    return "Not blessed: nothing that was made is proven to compute what the checkpoint computes."


def numbers(report: lenient.Report) -> list[dict[str, str]]:
    """The five numbers that people ask for, of the recommended variant or else of the SavedModel; what was not measured is left
    out.
    """
    recommended = lenient.text(report.get("recommended_variant"))
    rows = {row["name"]: row for row in tables.artifact_parities(report)}
    chosen = rows.get(recommended or "") or next((row for row in rows.values() if row["is_saved_model"]), None)
    if chosen is None:
        return []
    artifact, wide = chosen["artifact"], rows.get("float32")
    size, of = lenient.integer(artifact.get("bytes")), lenient.integer(wide["artifact"].get("bytes")) if wide else None
    share = f"{size / of * 100:.0f} % of float32" if size is not None and of and recommended not in (None, "float32") else ""
    metric = _first_metric(artifact)
    latency = lenient.latency_ms(artifact.get("latency_ms"))
    told = (
        ("size", formats.human_bytes(size), f"{chosen['name']}{f', {share}' if share else ''}"),
        ("largest difference", formats.human_number(chosen["max_abs"]), "from the checkpoint"),
        ("same top class", formats.human_share(chosen["agreement"]), ""),
        metric or ("latency", f"{formats.human_number(latency)} ms" if latency is not None else formats.ABSENT, "one row"),
        ("rows compared", formats.human_number(chosen["examples"]), ""),
    )
    return [{"label": label, "value": value, "under": under} for label, value, under in told if value != formats.ABSENT]


def _first_metric(artifact: Mapping[str, Any]) -> tuple[str, str, str] | None:
    for name, facts in lenient.mapping(artifact.get("metrics")).items():
        value, change = (lenient.number(lenient.mapping(facts).get(key)) for key in ("value", "change"))
        if value is not None:
            signed = "no change" if not change else f"{'+' if change > 0 else ''}{formats.human_number(change)}"
            return formats.single_line(name, limit=40), formats.human_number(value), signed
    return None


def _beside(report: lenient.Report) -> list[dict[str, str]]:
    """Links to the proof files beside a published model's page."""
    model_id = lenient.text(report.get("model_id")) or ""
    if not report.get("files") or not report.get("saved_model"):
        return []
    statement = [(layout.statement_name(model_id), "a statement that vouches for every file here")]
    names = [(layout.CARD, "a model card"), (layout.BILL, "a bill of materials")]
    told = [*names, *(statement if lenient.model_status(report) is Status.BLESSED else [])]
    return [{"name": name, "href": relative_href(name) or "", "what": what} for name, what in told]


def _what_is_proven(report: lenient.Report, *, blessed: int, of: int) -> str:
    counts = [row["examples"] for row in tables.artifact_parities(report) if row["examples"] is not None]
    on_rows = f" on {formats.counted(min(counts), 'row')}" if counts else ""
    if of == 0:
        return f"the SavedModel computes what the checkpoint computes{on_rows}, within its gates"
    if blessed == of:
        subject = "the SavedModel and its variant compute" if of == 1 else f"the SavedModel and all {of} variants compute"
        return f"{subject} what the checkpoint computes{on_rows}, within their gates"
    subject = "the SavedModel computes" if blessed == 0 else f"the SavedModel and {blessed} of {of} variants compute"
    return f"{subject} what the checkpoint computes{on_rows}, within the gates"


def badge(verdict: str) -> dict[str, str]:
    """A verdict as a symbol and words, so that it never depends on colour alone."""
    known = lenient.status(verdict)
    return {"tone": known.value, "mark": formats.STATUS_MARKS[known], "words": formats.STATUS_WORDS[known]}


def explained(value: object) -> dict[str, Any] | None:
    """A reason with the words for its stage and the hint for its code."""
    reason = lenient.reason(value)
    if reason is None:
        return None
    stage = reason["stage"] or ""
    return {
        "code": reason["code"] or "UNSTATED",
        "stage": stage,
        "stage_words": formats.STAGE_WORDS.get(stage, stage),
        "message": reason["message"] or "No message was recorded.",
        "hint": hint_for(reason["code"]) if reason["code"] else None,
    }


def variant_anchor(name: str) -> str:
    """The id of a variant's row on a model's page; letters, digits, '_' and '-' only."""
    return "variant-" + re.sub(r"[^A-Za-z0-9_-]", "-", name)


def pairs(value: object) -> list[tuple[str, str]]:
    """Any mapping as (name, text) in its own order."""
    return [(name, formats.plain(item)) for name, item in lenient.mapping(value).items()]


def _artifacts(report: lenient.Report) -> list[dict[str, Any]]:
    """The SavedModel and the variants, one row each: verdict, size, batch, what was measured, where it lies."""
    recommended = lenient.text(report.get("recommended_variant"))
    variants = lenient.mapping(report.get("variants"))
    wide = lenient.integer(lenient.mapping(variants.get("float32")).get("bytes"))
    rows = []
    for measured in tables.artifact_parities(report):
        name, artifact = measured["name"], measured["artifact"]
        is_variant = not measured["is_saved_model"]
        size = lenient.integer(artifact.get("bytes"))
        of_float32 = size / wide if is_variant and size is not None and wide and name != "float32" else None
        quantized = lenient.number(artifact.get("quantized_share"))
        told = [f"{of_float32 * 100:.0f} % of float32"] if of_float32 is not None else []
        told += [f"{quantized * 100:.0f} % of its weights quantised"] if told and quantized is not None else []
        rows.append(
            {
                "name": name,
                "anchor": variant_anchor(name) if is_variant else "saved-model",
                "badge": badge(lenient.status(artifact.get("status")).value) if is_variant else _saved_model_badge(artifact),
                "optional": is_variant and lenient.required(report, name) is False,
                "recommended": is_variant and name == recommended,
                "size": formats.human_bytes(size),
                "share": ", ".join(told) or None,
                "batch": formats.plain(artifact.get("batch")) if is_variant else formats.ABSENT,
                "examples": formats.human_number(measured["examples"]),
                "max_abs": formats.human_number(measured["max_abs"]),
                "agreement": formats.human_share(measured["agreement"]),
                "path": lenient.text(artifact.get("path")),
                "href": relative_href(artifact.get("path")),
            }
        )
    return rows


def _saved_model_badge(saved_model: Mapping[str, Any]) -> dict[str, str]:
    """The SavedModel's own verdict. A report without one is judged by the SavedModel's gates; without gates it is not blessed."""
    if saved_model.get("status") is not None:
        return badge(lenient.status(saved_model["status"]).value)
    within = [gate.get("is_within") is True for gate in map(lenient.mapping, lenient.listing(saved_model.get("gates")))]
    if not within:
        return {"tone": Status.UNVERIFIABLE.value, "mark": "?", "words": "no gates"}
    if all(within):
        return {"tone": Status.BLESSED.value, "mark": "✓", "words": "within gates"}
    return {"tone": Status.NOT_BLESSED.value, "mark": "✗", "words": "outside gates"}


def relative_href(path: object) -> str | None:
    """A link to a file in the model's own folder. './' and quoting keep it from ever being a scheme or another host."""
    relative = lenient.text(path)
    return f"./{quote(relative.lstrip('/'), safe='/')}" if relative else None


def _problems(report: lenient.Report, shown: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Why an artifact did not ship. A message that the model's own reason already contains is not repeated."""
    hinted = {shown["code"]} if shown and lenient.model_status(report) is not Status.BLESSED else set()
    problems = []
    for row in tables.artifact_parities(report):
        artifact = row["artifact"]
        verdict = _saved_model_badge(artifact) if row["is_saved_model"] else badge(lenient.status(artifact.get("status")).value)
        reason = explained(artifact.get("reason"))
        if verdict["tone"] == Status.BLESSED.value or reason is None or (hinted and _same(reason, shown)):
            continue
        if reason["code"] in hinted:
            reason["hint"] = None
        hinted.add(reason["code"])
        problems.append({"artifact": row["name"], "badge": verdict, **reason})
    return problems


def _same(reason: Mapping[str, Any], shown: Mapping[str, Any] | None) -> bool:
    return shown is not None and reason["code"] == shown["code"] and reason["message"] in shown["message"]


def _facts(report: lenient.Report) -> list[dict[str, Any]]:
    """The lists at the end of the page, each with a title; empty ones are left out."""
    saved_model = lenient.mapping(report.get("saved_model"))
    timings = lenient.mapping(report.get("timings_s"))
    sections: Sequence[tuple[str, list[tuple[str, str]]]] = (
        ("Checkpoint", _readable(report.get("checkpoint"))),
        ("Metadata", pairs(report.get("metadata"))),
        ("Samples", pairs(report.get("samples"))),
        (
            "SavedModel",
            _readable({key: saved_model[key] for key in _SAVED_MODEL_FACTS if key in saved_model}) + _opinion(saved_model),
        ),
        ("Recipe", _recipe(report)),
        ("Environment", pairs(report.get("environment"))),
        ("Timings", [(stage, formats.human_seconds(spent)) for stage, spent in timings.items()]),
    )
    return [{"title": title, "pairs": found} for title, found in sections if found]


def _opinion(saved_model: Mapping[str, Any]) -> list[tuple[str, str]]:
    opinion = lenient.mapping(saved_model.get("second_opinion"))
    status, why = lenient.text(opinion.get("status")), lenient.text(opinion.get("why"))
    if status is None:
        return []
    rows = lenient.integer(opinion.get("rows"))
    asked = f"{status} on {formats.counted(rows, 'row')} by {lenient.text(opinion.get('by'))}'s own loader" if rows else status
    return [("second opinion", f"{asked}: {why}" if why else asked)]


def _readable(value: object) -> list[tuple[str, str]]:
    """Pairs in which `bytes` is read by people, `85 kB (85,412 bytes)`, and custom objects by name, `Swish from my_models`."""
    found = lenient.mapping(value)
    size = lenient.integer(found.get("bytes"))
    if size is not None:
        found["bytes"] = f"{formats.human_bytes(size)} ({size:,} bytes)"
    customs = [lenient.mapping(custom) for custom in lenient.listing(found.pop("custom_objects", None))]
    if customs:
        named = (f"{formats.plain(custom.get('name'))} from {formats.plain(custom.get('module'))}" for custom in customs)
        found["custom_objects"] = ", ".join(named)
    return pairs(found)


def _recipe(report: lenient.Report) -> list[tuple[str, str]]:
    """The job's requirements for the model and its limits."""
    limits = lenient.mapping(report.get("limits"))
    required = report.get("required_variants")
    names = ", ".join(map(formats.plain, lenient.listing(required)))
    found = (
        ("required variants", names or ("none" if required == [] else formats.ABSENT)),
        ("recipe digest", formats.plain(report.get("recipe_digest"))),
        ("time limit", formats.human_seconds(limits.get("seconds"))),
        ("memory limit", formats.human_bytes(limits.get("memory_bytes"))),
        ("peak memory", formats.human_bytes(report.get("peak_memory_bytes") or None)),
    )
    return [(name, words) for name, words in found if words != formats.ABSENT]


def noise_notes(report: lenient.Report) -> list[str]:
    """One sentence for each measured source of noise and output; nothing where none was measured. Takes a report of any shape."""
    floor = lenient.mapping(report.get("noise_floor"))
    found = []
    for source, subject in (("reference", "the checkpoint itself"), ("float32", "the float32 file")):
        measured = lenient.mapping(floor.get(source))
        if source == "reference":
            sizes = ", ".join(formats.human_number(size) for size in lenient.listing(measured.get("batch_sizes")))
            circumstances = f"in batches of {sizes}" if sizes else "in other batches"
        else:
            circumstances = "on other kernels than it ships with"
        for output, numbers in lenient.mapping(measured.get("outputs")).items():
            one = lenient.mapping(numbers)
            written = [
                f"{metric} {formats.human_number(one[metric])}"
                for metric in ("max_rel", "max_abs")
                if lenient.number(one.get(metric)) is not None
            ]
            difference = ", ".join(written) or "no finite number"
            rows = lenient.integer(measured.get("rows"))
            on_rows = "" if rows is None else f", on {formats.counted(rows, 'row')}"
            unused = "; not used to raise a limit" if one.get("counts") is False else ""
            found.append(f"{formats.printable(output)}: {subject} {circumstances} differs by {difference}{on_rows}{unused}.")
    return found
