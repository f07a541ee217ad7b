"""The state of a run, finished or not: its facts, the table in the terminal, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.commands import live_display
from liteferry.errors import JobError, StorageError, did_you_mean
from liteferry.json_records import parse
from liteferry.output import held_back, run_lock
from liteferry.output.progress import Watcher
from liteferry.plan import process_log
from liteferry.report.formats import STAGE_WORDS, printable, single_line
from liteferry.samples.choosing import NOTE
from liteferry.storage import beneath, layout
from liteferry.types import Status

_NOTES_SHOWN = 10
_IDS_SHOWN = 8
ALL_BLESSED, NOT_ALL_BLESSED, BAD_USAGE = 0, 1, 2


def read_fleet(out: str) -> dict[str, Any]:
    """The facts of a finished run. `models` and `rows` of a large fleet are read from its parts whenever they are iterated over,
    which raises StorageError where a part is missing or damaged.

    Raises:
      JobError: there are none, or they are inconsistent.
    """
    from liteferry.report.fleet_check import is_in_parts, sound_facts
    from liteferry.report.parts.reading import with_models

    path = storage.join(out, layout.FLEET_FACTS)
    try:
        facts = sound_facts(parse(beneath.read_bytes(out, layout.FLEET_FACTS)))
        return with_models(out, facts) if is_in_parts(facts) else facts
    except (StorageError, ValueError) as error:
        first = f"run `liteferry run ... --output {out}` first, or, if there are reports, `liteferry report {out}`"
        raise JobError([f"{path}: no finished run here ({error}); {first}"], source=out) from error


def read_progress(out: str) -> Mapping[str, Any]:
    """The facts of a run. While it is still going, these are the facts of the reports published so far.

    Raises:
      JobError: neither a finished run nor a report was found.
    """
    from liteferry.commands.report_pages import read_reports
    from liteferry.report.fleet import fleet_facts

    beneath.refuse_links(out)
    is_going_on, submitted = run_lock.is_going_on(out), run_lock.submitted(out)
    if not is_going_on and not submitted:
        return read_fleet(out)
    reports = read_reports(out)
    what = "a run is going on" if is_going_on else f"a job {submitted[0]} has not finished"
    print(f"{out}: {what}, {len(reports)} report(s) so far", file=sys.stderr)
    _print_running(out)
    return fleet_facts(reports)


def _print_running(out: str) -> None:
    watcher = Watcher(out)
    for _ in watcher.new_lines():
        pass
    for line in list(watcher.running.values())[: live_display.RUNNING_SHOWN]:
        print(
            f"running: {single_line(line['doing'])}, {STAGE_WORDS.get(line['stage'], single_line(line['stage']))}",
            file=sys.stderr,
        )


def refuse_while_running(out: str) -> None:
    """Raises JobError while a run writes to `out`."""
    beneath.refuse_links(out)
    if run_lock.is_going_on(out):
        raise JobError([f"{out}: a run is going on here; verify it when it has ended"], source=out)


def print_summary(facts: Mapping[str, Any]) -> None:
    """The fleet's table: coloured on a terminal, plain elsewhere; of a large fleet its counts, without its models."""
    from liteferry.report.changes import in_words
    from liteferry.report.fleet_check import is_in_parts
    from liteferry.report.terminal import reasons_text, summary_table, summary_text, totals_text

    is_large = is_in_parts(facts)
    if is_large:
        print(totals_text(facts))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(summary_table(facts))
    else:
        print(summary_text(facts))
    reasons = reasons_text(facts)
    if reasons:
        print(reasons)
    changed = [single_line(line) for line in in_words(facts.get("changes"), counts=facts.get("change_counts"))]
    warnings = facts["notes"] if is_large else [note for model in facts["models"] for note in model.get("warnings") or ()]
    notes = {str(note) for note in warnings if str(note).startswith(NOTE)}
    for note in sorted(notes)[:_NOTES_SHOWN]:
        print(single_line(note))
    if changed:
        print("\n".join(["Since the last run:", *(f"  {line}" for line in changed)]))


def read_model(out: str, model_id: str) -> tuple[dict[str, Any], str]:
    """A model's report, that of its last attempt where an older blessing stays in place; and the folder that it lies in.

    Raises:
      JobError: no such model, with the nearest name.
    """
    beneath.refuse_links(out)
    published, attempt = held_back.reports_of(out, model_id) if beneath.is_inside(model_id) else ({}, {})
    report, folder = (attempt, layout.ATTEMPTS) if attempt else (published, layout.MODELS)
    if not report:
        there = storage.list_directory(storage.join(out, layout.MODELS))
        nearest = did_you_mean(model_id, there)
        listed = f"; there are {', '.join(map(single_line, there[:_IDS_SHOWN]))}" if there and not nearest else ""
        raise JobError([f"{single_line(model_id)}: no report of this model in {out}{nearest}{listed}"], source="liteferry show")
    return report, storage.join(out, folder, model_id)


def print_model(out: str, model_id: str, *, as_json: bool = False, with_log: bool = False) -> int:
    """Prints one model: its report in words, as JSON, or what the processes that worked on it printed. Returns the exit status
    that its verdict stands for.
    """
    from liteferry.report.model_text import model_text

    report, folder = read_model(out, model_id)
    if with_log:
        log = process_log.read(out, model_id)
        if log is None:
            raise JobError(
                [f"{single_line(model_id)}: no log; a run writes one for the models that it works on"], source="liteferry show"
            )
        print(printable(log).rstrip())
    else:
        print(json.dumps(report, indent=1) if as_json else model_text(report, folder))
    return ALL_BLESSED if report.get("status") == Status.BLESSED.value else NOT_ALL_BLESSED


def status_of(facts: Mapping[str, Any]) -> int:
    """The exit status for a fleet's facts."""
    from liteferry.report.parts.reading import InParts

    models = facts["models"]
    if isinstance(models, InParts):
        is_blessed = 0 < facts["totals"]["models"] == facts["totals"]["blessed"]
    else:
        is_blessed = bool(models) and all(model["status"] == "blessed" for model in models)
    return ALL_BLESSED if is_blessed else NOT_ALL_BLESSED


def print_json(facts: Mapping[str, Any]) -> None:
    """Prints a fleet's facts as JSON; models and rows of a large fleet one by one."""
    from liteferry.report.parts.reading import json_chunks

    for chunk in json_chunks(facts):
        sys.stdout.write(chunk)
    print()
