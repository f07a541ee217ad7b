"""What the launcher knows and says of a job on another engine: its id, whether it was stopped, and when nobody answers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from liteferry.commands.live_display import HostLines, host_lines
from liteferry.commands.run import _what_failed
from liteferry.errors import LostJobError, RunnerError
from liteferry.pipeline import launched_job
from liteferry.pipeline.runner_traits import traits_of
from tests.support.packages import free_port


class Flink:
    """The part of Flink's REST interface that lists and cancels jobs, with jobs of its own."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, str]] = {}
        jobs = self.jobs

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self, found: Any) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def do_GET(self) -> None:
                self._answer({"jobs": [{"jid": jid, **job} for jid, job in jobs.items()]})

            def do_PATCH(self) -> None:
                assert self.path.endswith("?mode=cancel")
                jobs[self.path.split("/")[2].partition("?")[0]]["state"] = "CANCELLING"
                self._answer({})

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def flink() -> Iterator[Flink]:
    made = Flink()
    yield made
    made.server.shutdown()


def options_of(address: str, *more: str) -> PipelineOptions:
    options = PipelineOptions(["--runner=FlinkRunner", f"--flink_master={address}", *more])
    launched_job.give_name(options)
    return options


def name_of(options: PipelineOptions) -> str:
    return str(options.view_as(GoogleCloudOptions).job_name)


def test_a_job_on_flink_is_found_by_its_name_and_stopped_by_flink_itself(flink: Flink) -> None:
    options = options_of(flink.address)
    flink.jobs.update(
        mine={"name": name_of(options), "state": "RUNNING"},
        done={"name": name_of(options), "state": "FINISHED"},
        another={"name": "liteferry-of-somebody", "state": "RUNNING"},
    )
    told = launched_job.launched(object(), options)
    assert (told.job_id, told.follow) == ("mine", f"curl {flink.address}/jobs/mine")
    assert launched_job.stop(None, options) == "job mine was cancelled"
    assert {jid: job["state"] for jid, job in flink.jobs.items()} == {
        "mine": "CANCELLING", "done": "FINISHED", "another": "RUNNING"
    }  # fmt: skip


def test_each_run_has_its_own_name_and_a_chosen_one_stays() -> None:
    first, second = options_of("localhost:8081"), options_of("localhost:8081")
    assert name_of(first) != name_of(second)
    assert name_of(options_of("localhost:8081", "--job_name=nightly")) == "nightly"
    local = PipelineOptions(["--runner=FlinkRunner", "--flink_master=[local]"])
    launched_job.give_name(local)
    assert local.view_as(GoogleCloudOptions).job_name is None


def test_a_cluster_that_does_not_answer_is_said(flink: Flink) -> None:
    flink.server.shutdown()
    flink.server.server_close()
    options = options_of(flink.address)
    said = launched_job.stop(None, options)
    assert "does not answer" in said and "may still be running" in said and f"{flink.address}/jobs/overview" in said
    assert launched_job.launched(object(), options).job_id is None


class Result:
    def __init__(self, error: Exception | None = None) -> None:
        self.error, self._job_id = error, "job-7"

    def cancel(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("flags", "result", "said"),
    [
        (["--runner=PrismRunner"], Result(), "the job was cancelled"),
        (["--runner=PrismRunner"], None, "the job had not begun"),
        (["--runner=PrismRunner"], Result(NotImplementedError("no\nway")), "could not be cancelled (NotImplementedError: no)"),
        (["--runner=PortableRunner", "--job_endpoint=flink:8099"], Result(), "on Flink that is not enough"),
        (["--runner=PortableRunner", "--job_endpoint=embed"], Result(), "the job was cancelled"),
    ],
)
def test_it_is_said_whether_the_job_was_stopped(flags: list[str], result: Any, said: str) -> None:
    assert said in launched_job.stop(result, PipelineOptions(flags))


def test_a_job_server_names_its_job() -> None:
    assert launched_job.launched(Result(), PipelineOptions(["--runner=PrismRunner"])).in_words() == "job job-7"


def broken_connection() -> Exception:
    call = grpc.insecure_channel(f"localhost:{free_port()}").unary_unary("/service/method")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=5)
    return caught.value


def test_a_lost_job_server_is_one_sentence_without_grpcs_text() -> None:
    error = RuntimeError("the job failed")
    error.__cause__ = broken_connection()
    said = _what_failed(error, traits_of(["--runner=PrismRunner"]), "s3://fleet/out")
    assert isinstance(said, LostJobError)
    text = str(said)
    assert "UNAVAILABLE" in text and "may still be running" in text and "`liteferry show s3://fleet/out`" in text
    assert "\n" not in text and "grpc" not in text.lower()


def test_another_failure_keeps_its_first_lines() -> None:
    said = _what_failed(ValueError("first\n" + "more\n" * 99), traits_of(["--runner=PrismRunner"]), "out")
    assert isinstance(said, RunnerError) and not isinstance(said, LostJobError)
    assert "ValueError: first" in str(said) and len(str(said).splitlines()) == 12


def test_what_is_worked_on_is_told_by_host_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    running = {
        "b": {"doing": "b", "stage": "export", "since": 0.0, "host": "host-1"},
        "a": {"doing": "a", "stage": "export", "since": 0.0, "host": "host-1"},
        "c": {"doing": "c", "stage": "evaluate", "since": 0.0, "host": "host-2"},
    }
    lines = host_lines(running)
    assert [line.partition(":")[0] for line in lines] == ["host-1", "host-2"]
    assert lines[0].endswith("a, b") and lines[1].endswith(" c")
    display = HostLines(every_s=0)
    display.tell(running)
    display.tell(running)
    assert capsys.readouterr().err.splitlines() == lines
    display.tell({"c": running["c"]})
    assert capsys.readouterr().err.splitlines() == lines[1:]
