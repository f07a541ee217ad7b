"""A fleet and a finished model as text: a table for terminals and logs, and one line for the progress of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.formats import single_line
from liteferry.report.pages import tables
from liteferry.report.pages.index_view import shortfalls, verdict
from liteferry.report.recommend import passed_over_in_words
from liteferry.types import Status

if TYPE_CHECKING:
    from rich.table import Table

Facts = Mapping[str, Any]

HELD_BACK = "held back, the last blessed files stay"
_STYLES = {Status.BLESSED: "green", Status.NOT_BLESSED: "red", Status.UNVERIFIABLE: "yellow", Status.FAILED: "red"}


def summary_table(facts: Facts) -> Table:
    """One line per model on a terminal of 120 columns; on a narrower one cells wrap between words.

    Shows the verdict, the reason, how many variants are blessed with the others by name, and the recommended variant with its
    size. Colour only repeats the words. Text from reports is never read as markup.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(verdict(facts["totals"]), style="bold"), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    table.add_column("Model", overflow="fold")
    table.add_column("Status", no_wrap=True)
    table.add_column("Variants", overflow="fold")
    table.add_column("Recommended", overflow="fold")
    table.add_column("Reason", no_wrap=True)
    for model in facts["models"]:
        found = lenient.status(model["status"])
        style = _STYLES[found]
        table.add_row(
            Text(_model_id(model)),
            Text(formats.STATUS_WORDS[found], style=style),
            Text(_variants_in_words(model)),
            Text(_recommended(model)),
            Text(_reason_code(model), style=style),
        )
    return table


def summary_text(facts: Facts) -> str:
    """The same as plain text, one column per variant, without colour and of any width: for a log or a pipe."""
    variants = lenient.ordered_variants(name for model in facts["models"] for name in model["variants"])
    lines = [["MODEL", "STATUS", *map(single_line, variants), "RECOMMENDED", "REASON"]]
    for model in facts["models"]:
        marks = [_mark(_variant_status(model, name)) for name in variants]
        lines.append([_model_id(model), _mark(lenient.status(model["status"])), *marks, _recommended(model), _reason_code(model)])
    return "\n".join([verdict(facts["totals"]), *(_aligned(lines) if facts["models"] else [])])


def totals_text(facts: Facts) -> str:
    """A large fleet as plain text: its verdict, each variant's verdicts as a table, and where every model stands."""
    statuses = [Status.BLESSED, Status.NOT_BLESSED, Status.UNVERIFIABLE, Status.FAILED]
    lines = [["VARIANT", *(formats.STATUS_WORDS[status].upper() for status in statuses)]]
    by_variant = facts["totals"]["by_variant"]
    for name in lenient.ordered_variants(by_variant):
        counts = lenient.mapping(by_variant[name])
        lines.append([single_line(name), *(f"{lenient.integer(counts.get(status.value)) or 0:,}" for status in statuses)])
    parts = formats.counted(len(facts["parts"]), "part")
    where = f"Every model: index.html, fleet/part-*.parquet ({parts}), or `show --json`; one of them: `show OUT MODEL`"
    return "\n".join([verdict(facts["totals"]), *(_aligned(lines) if by_variant else []), where])


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


REASONS_SHOWN, NAMES_SHOWN = 12, 6


def reasons_text(facts: Facts) -> str:
    """Models that did not ship, grouped by reason, most models first: the models, the first message in full, and the hint; ""
    if everything shipped.
    """
    from liteferry.report.parts.page import shortfall

    groups = [shortfall(group) for group in facts["reasons"]] if "reasons" in facts else shortfalls(facts["models"])
    blocks = [_reason_block(group) for group in groups[:REASONS_SHOWN]]
    if len(groups) > REASONS_SHOWN:
        blocks.append(f"and {len(groups) - REASONS_SHOWN} more reasons, in index.html")
    return "\n".join(["What did not ship, and what to try:", *blocks]) if blocks else ""


def _reason_block(group: Mapping[str, Any]) -> str:
    links = [link for message in group["messages"] for link in message["links"]]
    names = list(dict.fromkeys(single_line(link["model_id"]) or "(no id)" for link in links))
    more = group["models"] - NAMES_SHOWN
    told = ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    first = group["messages"][0] if group["messages"] else {"text": "", "stage": ""}
    lines = [f"  {single_line(group['code'])}: {told}"]
    lines += [f"    {line}" for line in formats.printable(first["text"]).splitlines() if line.strip()]
    lines += [f"    Try: {group['hint']}"] if group["hint"] else []
    return "\n".join(lines)


def one_line(report: lenient.Report) -> str:
    """A finished model in one line: verdict, id, the largest difference of every variant, the recommended variant or the
    reason.
    """
    model_status = lenient.model_status(report)
    parts = [f"{formats.STATUS_WORDS[model_status]:<11}", single_line(report.get("model_id")) or "(no id)"]
    rows = [row for row in tables.artifact_parities(report) if not row["is_saved_model"]]
    if any(row["artifact"].get("path") for row in rows):  # without any file, the reason is enough
        parts += [_variant_in_line(row) for row in rows]
    reason = lenient.reason(report.get("reason"))
    if model_status is not Status.BLESSED and reason:
        at_stage = f" in {reason['stage']}" if reason["stage"] else ""
        parts.append(single_line(f"{reason['code']}{at_stage}: {reason['message'] or 'no message'}"))
    recommended = lenient.text(report.get("recommended_variant"))
    if recommended:
        size = lenient.mapping(lenient.mapping(report.get("variants")).get(recommended)).get("bytes")
        parts.append(f"recommended {single_line(recommended)} ({formats.human_bytes(size)})")
        smaller = passed_over_in_words(report)
        parts += [f"not {'; '.join(smaller)}"] if smaller else []
    parts += [HELD_BACK] if lenient.mapping(report.get("held_back")) else []
    caution = lenient.caution(report)
    parts += [f"({caution}: see its warnings)"] if caution else []
    return "  ".join(parts)


def _variant_in_line(row: Mapping[str, Any]) -> str:
    """`float32 1.2e-07`, or `int8 0.31 not blessed`."""
    variant_status = lenient.status(row["artifact"].get("status"))
    words = [single_line(row["name"])]
    if row["max_abs"] is not None:
        words.append(formats.human_number(row["max_abs"]))
    if variant_status is not Status.BLESSED:
        words.append(formats.STATUS_WORDS[variant_status])
    return " ".join(words)


def _model_id(model: Facts) -> str:
    return single_line(model["model_id"]) or "(no id)"


def _variant_status(model: Facts, name: str) -> Status | None:
    variant = model["variants"].get(name)
    return lenient.status(variant["status"]) if variant is not None else None


def _mark(found: Status | None) -> str:
    return f"{formats.STATUS_MARKS[found]} {formats.STATUS_WORDS[found]}" if found else formats.ABSENT


def _variants_in_words(model: Facts) -> str:
    """`all 4 blessed`, or `2 of 4 blessed, float16 unverifiable, int8 not blessed`."""
    verdicts = {name: _variant_status(model, name) or Status.FAILED for name in lenient.ordered_variants(model["variants"])}
    missed = [
        f"{single_line(name)} {formats.STATUS_WORDS[found]}" for name, found in verdicts.items() if found is not Status.BLESSED
    ]
    if not verdicts:
        return formats.ABSENT
    if not missed:
        return f"all {len(verdicts)} blessed" if len(verdicts) > 1 else f"{single_line(next(iter(verdicts)))} blessed"
    return ", ".join([f"{len(verdicts) - len(missed)} of {len(verdicts)} blessed", *missed])


def _recommended(model: Facts) -> str:
    """`dynamic_int8 (21kB)`, in which a size never breaks over lines, or a dash."""
    name = model["recommended_variant"]
    if not name:
        return formats.ABSENT
    size = formats.human_bytes(model["variants"].get(name, {}).get("bytes"))
    return f"{single_line(name)} ({size.replace(' ', '')})"


def _reason_code(model: Facts) -> str:
    caution = lenient.caution(model)
    if model["status"] == Status.BLESSED.value:
        return caution or ""
    code = single_line((model["reason"] or {}).get("code") or "no reason recorded")
    held = HELD_BACK if model.get("held_back") else None
    return ", ".join(filter(None, (code, held, caution)))
