"""A run from the launcher's side: one at a time per OUT, progress on the way, a summary and an exit status at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from liteferry import storage
from liteferry.commands import live_display
from liteferry.config.job import Job
from liteferry.errors import JobError, LiteFerryError, RunnerError, StorageError
from liteferry.json_text import parse
from liteferry.output import progress, run_lock
from liteferry.output.progress import Watcher
from liteferry.pipeline import local_workers
from liteferry.pipeline.run_request import RunRequest
from liteferry.pipeline.runner_traits import RunnerTraits, refuse_bare_workers, refuse_local_paths, traits_of
from liteferry.report.formats import STAGE_WORDS, single_line
from liteferry.storage import beneath

ALL_BLESSED, NOT_ALL_BLESSED, BAD_USAGE = 0, 1, 2
_LOOK_EVERY_S = 0.3
_LOOK_AT_STORE_EVERY_S = 2.0


def run_job(request: RunRequest, *, is_quiet: bool = False, is_verbose: bool = False) -> int:
    """Runs a job and prints what came of it. Returns the exit status; 0 for a job that was handed over and is not waited for.

    Raises:
      JobError, StorageError: before anything was run.
      RunnerError: the runner did not take the job, or ended it before its end.
    """
    from liteferry import sandbox
    from liteferry.report.pages.assets import write_assets
    from liteferry.sandbox import held, scratch

    _set_logs(is_verbose=is_verbose)
    scratch.catch_temporaries()
    traits = traits_of(request.beam_flags)
    if traits.is_dataflow:
        refuse_local_paths(request.job, request.out)
        refuse_bare_workers(request.beam_flags)
    request = dataclasses.replace(request, out=storage.absolute(request.out))
    out, total = request.out, count_checkpoints(request.job)
    beneath.refuse_links(out)
    told = held.warning() if traits.is_here else None  # elsewhere the reports say what their workers' kernels hold
    if told:
        print(told, file=sys.stderr)
    with run_lock.exclusive(out):
        _tell_of_submitted(out)
        run_lock.clear_leftovers(out)
        write_assets(out)  # the first report may be opened long before the last
        if traits.is_here:  # elsewhere the workers have nurseries of their own
            sandbox.warm_up()
        with _progress(out, total, is_quiet=is_quiet or not traits.waits) as counts:
            name = _run_pipeline(request, traits)
        if not traits.waits:
            return _handed_over(out, traits, name)
        run_lock.clear_leftovers(out)
    sandbox.close()
    return _conclude(out, total, counts)


def count_checkpoints(job: Job) -> int:
    """How many checkpoints the job's patterns name. Raises JobError for a pattern, a module or samples that name nothing."""
    from liteferry.plan.job_files import find_checkpoints, refuse_missing_files

    refuse_missing_files(job)
    return len(find_checkpoints(job))


def _tell_of_submitted(out: str) -> None:
    for words in run_lock.submitted(out):
        print(
            f"{out}: a job {words} has not come to its end here. If it still runs, it and this run take turns at each model, and "
            "the later one keeps what the other has finished",
            file=sys.stderr,
        )


def _run_pipeline(request: RunRequest, traits: RunnerTraits) -> str | None:
    try:
        with local_workers.watched():
            from liteferry.pipeline import batch_export

            return batch_export.run(request)
    except LiteFerryError:
        raise
    # Runners raise what they like, their clients' errors among it; how the job ended is told in one message.
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Beam wraps what is raised in a bundle
            raise KeyboardInterrupt from error
        if traits.is_local:
            raise
        raise RunnerError(f"{traits.name}: {type(error).__name__}: {error}; finished models are kept, run it again") from error


def _handed_over(out: str, traits: RunnerTraits, name: str | None) -> int:
    if name or not traits.is_dataflow:  # a template was written otherwise, and nothing runs yet
        run_lock.note_submitted(out)
    print(f"{traits.name}: {f'job {name}' if name else 'the job'} goes on by itself; `liteferry show {out}` tells how far it is")
    return ALL_BLESSED


def _set_logs(*, is_verbose: bool) -> None:
    """Quiet libraries, or what all of them say: the sandboxes hand their logs on when they end."""
    from liteferry.sandbox.nurseries import VERBOSE

    if is_verbose:
        os.environ[VERBOSE] = "1"
        logging.basicConfig(level=logging.INFO)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    logging.getLogger("apache_beam.runners.common").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Beam logs a traceback for any error in a bundle: also for Ctrl-C, of which its user knows, and for an output that cannot be
    written, which ends the run with one message.
    """
    text = f"{record.getMessage()} {record.exc_info}"
    return not any(name in text for name in ("KeyboardInterrupt", "StorageError"))


@contextlib.contextmanager
def _progress(out: str, total: int, *, is_quiet: bool) -> Iterator[dict[str, int]]:
    """Shows how the run goes while the context lasts. Yields the counts."""
    counts = {"new": 0, "already_done": 0}
    watcher, stop = Watcher(out), threading.Event()
    with live_display.shown(watcher, total, is_quiet=is_quiet) as on_line:
        seen: set[str] = set()

        def look() -> None:
            with contextlib.suppress(StorageError):  # a store that does not answer now may the next time
                take_lines()

        def take_lines() -> None:
            for line in watcher.new_lines():
                if line["model_id"] in seen:  # a runner may process a model twice
                    continue
                seen.add(line["model_id"])
                counts["new" if line["is_new"] else "already_done"] += 1
                on_line(line, sum(counts.values()))

        def keep_looking() -> None:
            while not stop.wait(_LOOK_AT_STORE_EVERY_S if storage.is_remote(out) else _LOOK_EVERY_S):
                look()

        thread = threading.Thread(target=keep_looking, daemon=True)
        thread.start()
        try:
            yield counts
        finally:
            stop.set()
            thread.join()
            progress.flush()
            look()


def read_fleet(out: str) -> dict[str, Any]:
    """The facts of a finished run. Raises JobError when there is none, or none that agree with themselves."""
    from liteferry.report.fleet_check import sound_facts

    path = storage.join(out, "fleet.json")
    try:
        return sound_facts(parse(beneath.read_bytes(out, "fleet.json")))
    except (StorageError, ValueError) as error:
        first = f"run `liteferry run ... --output {out}` first, or, if there are reports, `liteferry report {out}`"
        raise JobError([f"{path}: no finished run here ({error}); {first}"], source=out) from error


def read_progress(out: str) -> dict[str, Any]:
    """The facts of a run, finished or still going: while one goes on, those of the reports that are there.

    Raises:
      JobError: when there is neither.
    """
    from liteferry.commands.report_pages import read_reports
    from liteferry.report.fleet import fleet_facts

    beneath.refuse_links(out)
    is_going_on, submitted = run_lock.is_going_on(out), run_lock.submitted(out)
    if not is_going_on and not submitted:
        return read_fleet(out)
    reports = read_reports(out)
    what = "a run is going on" if is_going_on else f"a job {submitted[0]} has not come to its end"
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


def print_summary(facts: dict[str, Any]) -> None:
    """The fleet's table: coloured on a terminal, plain elsewhere."""
    from liteferry.report.changes import in_words
    from liteferry.report.terminal import summary_table, summary_text

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(summary_table(facts))
    else:
        print(summary_text(facts))
    changed = [single_line(line) for line in in_words(facts.get("changes"))]
    if changed:
        print("\n".join(["Since the last run:", *(f"  {line}" for line in changed)]))


def _conclude(out: str, total: int, counts: dict[str, int]) -> int:
    facts = read_fleet(out)
    print_summary(facts)
    if counts["already_done"]:
        what = "nothing was left to do" if counts["new"] == 0 else f"{counts['new']} done now"
        print(
            f"{counts['already_done']} of {total} models were done already and have not changed; {what}. --force does them again."
        )
    print(f"Reports: {storage.join(out, 'index.html')}")
    missing = total - len(facts["models"])
    if missing > 0:
        print(f"{missing} of {total} checkpoints have no report; run the same command again", file=sys.stderr)
    return status_of(facts) if missing <= 0 else NOT_ALL_BLESSED


def status_of(facts: dict[str, Any]) -> int:
    """The exit status that a fleet's facts stand for."""
    models = facts["models"]
    return ALL_BLESSED if models and all(model["status"] == "blessed" for model in models) else NOT_ALL_BLESSED
