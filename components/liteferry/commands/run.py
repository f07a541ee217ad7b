"""One run, from the launcher's side: at most one per OUT, progress while it lasts, a summary and an exit status at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from liteferry import sandbox, storage
from liteferry.commands import live_display
from liteferry.commands.show import ALL_BLESSED, NOT_ALL_BLESSED, print_summary, read_fleet, status_of
from liteferry.config.job import Job
from liteferry.errors import JobError, LiteFerryError, LostJobError, RunnerError, StorageError, TerminatedInterrupt
from liteferry.output import progress, proofs, run_lock
from liteferry.output.progress import Watcher
from liteferry.pipeline import beam_import, local_workers
from liteferry.pipeline.run_request import RunRequest, fits_only
from liteferry.pipeline.runner_traits import RunnerTraits, refuse_bare_workers, refuse_local_paths, traits_of
from liteferry.storage import beneath, layout

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

    from liteferry.pipeline.launched_job import LaunchedJob

_LINES_OF_RUNNERS = 12
_LOOK_EVERY_S = 0.3
_LOOK_AT_STORE_EVERY_S = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class How:
    """How a run behaves on the command line. `is_quiet`: no progress. `is_verbose`: with the libraries' logs. `is_strict`: does
    not begin if the forecast says that a checkpoint will fail. `is_alone`: the process runs nothing but this command, so Beam
    may be imported in part. `signer`: signs what is blessed when all models
    are done; no worker gets it.
    """

    is_alone: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_strict: bool = False
    signer: Signer | None = None


def run_job(request: RunRequest, how: How | None = None) -> int:
    """Runs a job and prints its results. Returns the exit status; 0 for a job that was submitted without waiting for its end.

    Raises:
      JobError, StorageError: before anything ran.
      RunnerError: the runner refused the job, or failed before the job was finished.
    """
    from liteferry.report.pages.render import write_assets
    from liteferry.sandbox import held, scratch

    how = how or How()
    _set_logs(is_verbose=how.is_verbose)
    scratch.catch_temporaries()
    traits = traits_of(request.beam_flags)
    if traits.is_dataflow:
        refuse_local_paths(request.job, request.out)
        refuse_bare_workers(request.beam_flags)
    if how.signer is not None and not traits.waits:
        raise JobError(["--sign: this job goes on by itself; sign in a run that waits, by the same command"], source="flags")
    request = dataclasses.replace(request, out=storage.absolute(request.out))
    may_be_finished = traits.is_here and not request.force and storage.exists(storage.join(request.out, layout.FLEET_FACTS))
    if traits.is_here and not may_be_finished:
        sandbox.warm_up()  # there is certainly work, and this process can do its own imports meanwhile
    out, total = request.out, count_checkpoints(request.job, out=request.out, only=request.only, tell=print)
    beneath.refuse_links(out)
    told = held.warning() if traits.is_here else None  # on other machines, the reports say what the workers' kernels enforce
    if told:
        print(told, file=sys.stderr)
    with run_lock.exclusive(out):
        has_others = _tell_of_submitted(out)
        run_lock.clear_leftovers(out, keep_work=has_others)
        done: dict[str, bool] = {}
        is_quiet = how.is_quiet or not traits.waits
        shown = functools.partial(_progress, out, total, done, is_quiet=is_quiet, with_hosts=not traits.is_local)
        launched = is_finished = None
        if may_be_finished:
            with shown():
                is_finished = _is_finished(request)
        if not is_finished:
            if traits.is_here and not _may_begin(request, how):
                return NOT_ALL_BLESSED
            write_assets(out)  # the first report may be opened long before the last
            with shown():
                launched = _run_noted(request, traits, how)
        if not traits.waits:
            return _handed_over(out, traits, launched)
        run_lock.clear_leftovers(out, keep_work=has_others)
        unsigned = _sign(out, how.signer)
    sandbox.close()
    status = _conclude(request, total, done)
    for sentence in unsigned:
        print(f"not signed: {sentence}", file=sys.stderr)
    return status or (NOT_ALL_BLESSED if unsigned else ALL_BLESSED)


def _sign(out: str, signer: Signer | None) -> list[str]:
    """Signs what is blessed of the models of this run. Returns why some are not signed."""
    return [] if signer is None else proofs.sign_all(out, [model["model_id"] for model in read_fleet(out)["models"]], signer)


def _may_begin(request: RunRequest, how: How) -> bool:
    """Prints the findings of `check`. Returns False if `--strict` stops the run: some checkpoint would not be blessed, as far as
    can be predicted.
    """
    from liteferry.commands.check import check, tell

    checked = check(request.job, leave_out=request.out)
    models = [model for model in checked.models if fits_only(model.model_id, request.only)]
    if not how.is_quiet or how.is_strict:
        tell(models)
    is_bad = any(model.state.is_bad for model in models)
    if is_bad and how.is_strict:
        print("liteferry: --strict: nothing was run; fix the problems above, or run without --strict", file=sys.stderr)
    return not (is_bad and how.is_strict)


def count_checkpoints(
    job: Job, *, out: str | None = None, only: str | None = None, tell: Callable[[str], object] = lambda _: None
) -> int:
    """The number of checkpoints that the job's patterns match and whose ids match `only`. `tell` gets a line about other files
    that were matched. Raises JobError for a pattern, a module or samples that do not exist.
    """
    from liteferry.commands.check import ignored_line
    from liteferry.plan.job_files import look_for_checkpoints, refuse_missing_files

    refuse_missing_files(job)
    found = look_for_checkpoints(job, out)
    if found.ignored:
        tell(ignored_line(found.ignored))
    chosen = [at for at in found.checkpoints if fits_only(at.model_id, only)]
    if not chosen:
        ids = ", ".join(at.model_id for at in found.checkpoints[:8])
        raise JobError([f"--only: no model id fits {only!r}; the job has {ids}"], source="flags")
    return len(chosen)


def _tell_of_submitted(out: str) -> bool:
    """Tells of jobs that may still be running, of a launcher that is gone. Returns whether there are any."""
    found = run_lock.submitted(out)
    for words in found:
        print(
            f"{out}: a job {words} has not finished here. If it is still running, both runs take turns at each model, and "
            "each keeps the models that the other has finished",
            file=sys.stderr,
        )
    return bool(found)


def _is_finished(request: RunRequest) -> bool:
    from liteferry.pipeline.finished_fleet import write_if_finished

    return write_if_finished(request)


def _run_noted(request: RunRequest, traits: RunnerTraits, how: How) -> LaunchedJob | None:
    """Runs the pipeline. While a job runs elsewhere, a note in OUT says so, since it may outlive this process."""
    if traits.is_local or not traits.waits:
        return _run_pipeline(request, traits, how)
    note = run_lock.note_submitted(request.out)
    try:
        launched = _run_pipeline(request, traits, how)
    except LostJobError:
        raise  # the note stays
    except LiteFerryError:
        run_lock.forget_note(request.out, note)
        raise
    run_lock.forget_note(request.out, note)
    return launched


def _run_pipeline(request: RunRequest, traits: RunnerTraits, how: How) -> LaunchedJob | None:
    if traits.is_here:  # elsewhere the workers have nurseries of their own
        sandbox.warm_up()
    if traits.is_here and how.is_alone:
        beam_import.import_for_local_run()
    try:
        with local_workers.watched(), contextlib.nullcontext() if traits.is_local else _interrupted_by_sigterm():
            from liteferry.pipeline import batch_export

            return batch_export.run(request)
    except LiteFerryError:
        raise
    # Runners raise anything, including errors of their client libraries; the user gets one message.
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Beam wraps what is raised in a bundle
            raise KeyboardInterrupt from error
        if traits.is_local:
            raise
        raise _what_failed(error, traits, request.out) from error


def _what_failed(error: Exception, traits: RunnerTraits, out: str) -> RunnerError:
    """What is known after a runner's client has raised."""
    from liteferry.pipeline.launched_job import lost_connection

    code = lost_connection(error)
    if code is None:
        told = "\n".join(str(error).strip().splitlines()[:_LINES_OF_RUNNERS])
        return RunnerError(f"{traits.name}: {type(error).__name__}: {told}; finished models are kept, run it again")
    return LostJobError(
        f"{traits.name}: the connection to the job server was lost ({code}); nobody here knows how the job goes on, it may still "
        f"be running. Finished models are kept; `liteferry show {out}` tells how far it is, and the same command again does what "
        "is left, also beside a job that still runs"
    )


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Lets a SIGTERM end the wait for a job elsewhere as Ctrl-C does, so that it is stopped, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: object) -> None:
        raise TerminatedInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _handed_over(out: str, traits: RunnerTraits, job: LaunchedJob | None) -> int:
    if job is not None or not traits.is_dataflow:  # otherwise a template was written, and nothing runs yet
        run_lock.note_submitted(out)
    told = job.in_words() if job is not None else "the job"
    print(f"{traits.name}: {told} goes on by itself; `liteferry show {out}` shows its progress")
    return ALL_BLESSED


def _set_logs(*, is_verbose: bool) -> None:
    """Silences the libraries, or shows all their logs. Sandboxes pass their logs on when they exit."""
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
    """Whether to show a log record. Beam logs a traceback for every error in a bundle, also for two that are reported otherwise:
    Ctrl-C, and an output that cannot be written, which ends the run with one message.
    """
    text = f"{record.getMessage()} {record.exc_info}"
    return not any(name in text for name in ("KeyboardInterrupt", "StorageError"))


@contextlib.contextmanager
def _progress(out: str, total: int, done: dict[str, bool], *, is_quiet: bool, with_hosts: bool) -> Iterator[None]:
    """Shows progress while the context lasts, and notes the models in `done`: by id, whether this run made the report. A model
    that is noted already is not shown again. `with_hosts`: tells on which host models are worked on.
    """
    watcher, stop = Watcher(out), threading.Event()
    with live_display.shown(watcher, total, is_quiet=is_quiet) as on_line:
        on_look = live_display.HostLines() if with_hosts and not is_quiet and not sys.stderr.isatty() else None

        def look() -> None:
            with contextlib.suppress(StorageError):  # a store that fails now may answer the next time
                take_lines()

        def take_lines() -> None:
            for line in watcher.new_lines():
                if line["model_id"] in done:  # a runner may process a model twice
                    continue
                done[line["model_id"]] = line["is_new"]
                on_line(line, len(done))
            if on_look is not None:
                on_look.tell(watcher.running)

        def keep_looking() -> None:
            while not stop.wait(_LOOK_AT_STORE_EVERY_S if storage.is_remote(out) else _LOOK_EVERY_S):
                look()

        thread = threading.Thread(target=keep_looking, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            progress.flush()
            look()


def _conclude(request: RunRequest, total: int, done: dict[str, bool]) -> int:
    """Prints the summary and returns the exit status."""
    out = request.out
    facts = read_fleet(out)
    if request.only is not None:
        facts = {**facts, "models": [model for model in facts["models"] if fits_only(model["model_id"], request.only)]}
    total = max(total, len(facts["models"]))  # a checkpoint may have come after they were counted
    print_summary(facts)
    new = sum(done.values())
    if len(done) > new:
        what = "nothing was left to do" if new == 0 else f"{new} done now"
        print(f"{len(done) - new} of {total} models were done already and have not changed; {what}. --force repeats them.")
    print(f"Reports: {storage.join(out, 'index.html')}")
    missing = total - len(facts["models"])
    if missing > 0:
        print(f"{missing} of {total} checkpoints have no report; run the same command again", file=sys.stderr)
    return status_of(facts) if missing <= 0 else NOT_ALL_BLESSED
