"""A job on an engine that may go on without its launcher: its name there, how to follow it, how to stop it, and what is known of
it when the engine does not answer any more.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_ANSWERS_WITHIN_S = 10.0
_CANCELS_WITHIN_S = 30.0
_ENDED = ("FINISHED", "FAILED", "CANCELED")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchedJob:
    """A job as its engine knows it. `follow`: a command that shows it, where there is one besides LiteFerry's own."""

    job_id: str | None
    follow: str | None = None

    def in_words(self) -> str:
        told = f"job {self.job_id}" if self.job_id else "the job"
        return f"{told} (`{self.follow}`)" if self.follow else told


def give_name(options: PipelineOptions) -> None:
    """Gives a job on Flink a name of its own, by which it is found there; a name that the user chose stays."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    cloud = options.view_as(GoogleCloudOptions)
    if _flink_of(options) is not None and not cloud.job_name:
        cloud.job_name = f"liteferry-{uuid.uuid4().hex[:12]}"


def launched(result: Any, options: PipelineOptions) -> LaunchedJob:
    """The job that a runner has taken, without waiting for its end. Never raises."""
    flink = _flink_of(options)
    if flink is not None:
        ids = _ids_on_flink(flink, options)
        return LaunchedJob(job_id=ids[0], follow=f"curl {flink}/jobs/{ids[0]}") if ids else LaunchedJob(job_id=None)
    if getattr(result, "has_job", False):  # Dataflow
        return LaunchedJob(job_id=str(result.job_id()))
    own = getattr(result, "_job_id", None)  # a job server's
    return LaunchedJob(job_id=str(own) if own else None)


def stop(result: Any, options: PipelineOptions) -> str:
    """Stops a job as far as its engine can, and says in a sentence whether it was stopped. Never raises.

    `result`: Beam's, or None where the job was not taken yet.
    """
    flink = _flink_of(options)
    if flink is not None:
        return _stop_on_flink(flink, options)
    if result is None:
        return "the job had not begun"
    problem = _cancel(result)
    if problem is not None:
        return f"the job could not be cancelled ({problem}) and may still be running"
    if _has_own_job_server(options):
        return "the job server was asked to cancel the job; on Flink that is not enough: docs/cluster.md, `To stop a job`"
    return "the job was cancelled"


def lost_connection(error: BaseException | None) -> str | None:
    """What a client said of a connection to the engine that broke, in a few words; None where an error is of another kind."""
    seen = 0
    while error is not None and seen < 10:
        if any(base.__name__ == "RpcError" for base in type(error).__mro__):
            code = getattr(error, "code", lambda: None)()
            return str(getattr(code, "name", None) or type(error).__name__)
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def _stop_on_flink(flink: str, options: PipelineOptions) -> str:
    """By Flink's own interface: after Beam's cancel the job runs on."""
    try:
        ids = list(_running_on_flink(flink, options))
        for job_id in ids:
            _ask(f"{flink}/jobs/{job_id}?mode=cancel", method="PATCH")
    except (OSError, ValueError) as error:
        return f"{flink} does not answer ({error}): the job may still be running; `curl {flink}/jobs/overview` lists it"
    return f"job {', '.join(ids)} was cancelled" if ids else f"no job of this run is running at {flink}"


def _ids_on_flink(flink: str, options: PipelineOptions) -> list[str]:
    try:
        return list(_running_on_flink(flink, options))
    except (OSError, ValueError):
        return []


def _running_on_flink(flink: str, options: PipelineOptions) -> Iterator[str]:
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    name = options.view_as(GoogleCloudOptions).job_name
    jobs = _ask(f"{flink}/jobs/overview").get("jobs")
    for job in jobs if isinstance(jobs, list) else []:
        if job.get("name") == name and job.get("state") not in _ENDED:
            yield str(job.get("jid"))


def _ask(address: str, *, method: str = "GET") -> dict[str, Any]:
    """An answer of Flink's REST interface. Raises OSError, or ValueError for one that is not JSON."""
    request = urllib.request.Request(address, method=method)
    with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN_S) as answer:
        found = json.loads(answer.read() or b"{}")
    return found if isinstance(found, dict) else {}


def _flink_of(options: PipelineOptions) -> str | None:
    """The REST address of the Flink cluster that the options name; None for another runner, and for one inside the job server."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, StandardOptions

    runner = options.view_as(StandardOptions).runner or ""
    master = str(options.view_as(FlinkRunnerOptions).flink_master or "").strip().rstrip("/")
    if runner.rpartition(".")[2] != "FlinkRunner" or not master or master.startswith("["):
        return None
    address = master if master.startswith(("http://", "https://")) else f"http://{master}"
    return address if urllib.parse.urlsplit(address).hostname else None


def _has_own_job_server(options: PipelineOptions) -> bool:
    from apache_beam.options.pipeline_options import PortableOptions

    return options.view_as(PortableOptions).job_endpoint not in (None, "", "embed")


def _cancel(result: Any) -> str | None:
    """Asks Beam to cancel. Returns why it did not; None where it did."""
    problems: list[str] = []

    def ask() -> None:
        try:
            result.cancel()
        # A runner's client raises anything; what it says is told, and the launcher ends all the same.
        except Exception as error:  # noqa: BLE001
            problems.append(f"{type(error).__name__}: {lost_connection(error) or error}".splitlines()[0][:200])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_CANCELS_WITHIN_S)
    return f"no answer within {_CANCELS_WITHIN_S:g} s" if thread.is_alive() else problems[0] if problems else None
