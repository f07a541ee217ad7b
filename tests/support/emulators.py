"""Object stores on this machine, for tests: moto's S3 and gcp-storage-emulator, each started once a session, over real HTTP.

    def test_something(s3: Bucket, gs: Bucket) -> None:
        s3.put("a/model.keras", content)
        s3.fail("GET", "model.keras", status=503, times=2)
        ... f"{s3.uri}/a/model.keras"

A fixture gives a bucket of its own and sets the environment by which drivers, also those of child processes, find the emulator.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import io
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_NUMBERS = itertools.count()


@dataclasses.dataclass
class Fault:
    """What an emulator does wrong: for requests of `method` ("*": any) whose path and query match, `times` times (None: always).

    `status`: answers so, with `is_done` after it has done what it was asked for; `cut_to`: sends so many bytes of the body and
    hangs up; `before`: is called first.
    """

    method: str
    path: re.Pattern[str]
    status: int | None = None
    is_done: bool = False
    cut_to: int | None = None
    before: Callable[[], None] | None = None
    times: int | None = None


class Faults:
    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._lock = threading.Lock()
        self.requests: list[str] = []  # "METHOD path?query", all of them

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append(f"{method} {path}")
            for fault in self._planned:
                if fault.method in ("*", method) and fault.path.search(path) and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def plan(self, fault: Fault) -> None:
        with self._lock:
            self._planned.append(fault)

    def forget(self) -> None:
        with self._lock:
            self._planned.clear()
            self.requests.clear()


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A bucket of an emulator. `uri`: gs://name or s3://name."""

    uri: str
    faults: Faults
    put: Callable[[str, bytes], None]
    names: Callable[[], list[str]]

    def fail(self, method: str, path: str, **fault: Any) -> None:
        """See Fault; `path` is a regular expression."""
        self.faults.plan(Fault(method, re.compile(path), **fault))


# S3


class _S3:
    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.faults = Faults()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._server.log = lambda *_: None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, environ: Any, start_response: Any) -> Any:
        path = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        fault = self.faults.take(environ["REQUEST_METHOD"], path)
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and fault.is_done:
            list(self._moto(environ, lambda *_: None))
        if fault is not None and fault.status is not None:
            code = {403: "AccessDenied", 404: "NoSuchKey", 503: "ServiceUnavailable"}.get(fault.status, "InternalError")
            start_response(f"{fault.status} {code}", [("Content-Type", "application/xml")])
            if environ["REQUEST_METHOD"] == "HEAD":
                return []
            return [f"<Error><Code>{code}</Code><Message>planned: {code}</Message></Error>".encode()]
        answer = self._moto(environ, start_response)
        if fault is not None and fault.cut_to is not None:
            return [b"".join(answer)[: fault.cut_to]]
        return answer

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[_S3]:
    server = _S3()
    yield server
    server.stop()


@pytest.fixture
def s3(_s3_server: _S3) -> Iterator[Bucket]:
    """A bucket of moto's S3."""
    with s3_bucket(_s3_server) as bucket:
        yield bucket


@contextlib.contextmanager
def s3_bucket(server: _S3) -> Iterator[Bucket]:
    """A new bucket, and the environment that leads to it while the context lasts."""
    import boto3

    environment = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        client = boto3.client("s3")
        name = f"bucket-{next(_NUMBERS)}"
        client.create_bucket(Bucket=name)
        server.faults.forget()
        yield Bucket(
            uri=f"s3://{name}",
            faults=server.faults,
            put=lambda key, content: client.put_object(Bucket=name, Key=key, Body=content),
            names=lambda: [item["Key"] for item in client.list_objects_v2(Bucket=name).get("Contents", [])],
        )
        server.faults.forget()


# GCS


def _gcs_classes() -> tuple[Any, Any]:
    from gcp_storage_emulator import server, storage

    class PreconditionFailedError(Exception):
        pass

    class Storage(storage.Storage):
        """With the one precondition that the emulator does not know: if-generation-match of a write."""

        wanted_generation: str | None = None

        def create_file(self, bucket_name: str, file_name: str, content: Any, file_obj: Any, file_id: Any = None) -> None:
            if self.wanted_generation is not None:
                there = self.objects.get(bucket_name, {}).get(file_name, {}).get("generation", "0")
                if there != self.wanted_generation:
                    raise PreconditionFailedError
            super().create_file(bucket_name, file_name, content, file_obj, file_id)

    class Handler(server.RequestHandler):
        """One request at a time, as the storage needs it; faults as planned."""

        wfile: Any

        def _serve(self, answer: Callable[[], None]) -> None:
            fault = self.server.faults.take(self.command, self.path)
            if fault is not None and fault.before is not None:
                fault.before()
            if fault is None or fault.status is None:
                self._do(answer, cut_to=None if fault is None else fault.cut_to)
                return
            if fault.is_done:
                wire, self.wfile = self.wfile, io.BytesIO()
                self._do(answer)
                self.wfile = wire
            self._refuse(fault.status)

        def _do(self, answer: Callable[[], None], *, cut_to: int | None = None) -> None:
            if cut_to is not None:
                self.wfile = _Cut(self.wfile, cut_to)
            with self.server.lock:
                wanted = re.search(r"[?&]ifGenerationMatch=(\d+)", self.path)
                self.storage.wanted_generation = wanted[1] if wanted else None
                try:
                    answer()
                except PreconditionFailedError:
                    self._refuse(412)

        def _refuse(self, status: int) -> None:
            content = f'{{"error": {{"code": {status}, "message": "planned"}}}}'.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def do_GET(self) -> None:  # noqa: N802
            self._serve(super().do_GET)

        def do_POST(self) -> None:  # noqa: N802
            self._serve(super().do_POST)

        def do_PUT(self) -> None:  # noqa: N802
            self._serve(super().do_PUT)

        def do_PATCH(self) -> None:  # noqa: N802
            self._serve(super().do_PATCH)

        def do_DELETE(self) -> None:  # noqa: N802
            self._serve(super().do_DELETE)

    return Storage, Handler


class _Cut:
    """A connection that breaks off after so many bytes of the body."""

    def __init__(self, file: Any, size: int) -> None:
        self._file = file
        self._left = size
        self._is_body = False

    def write(self, content: bytes) -> None:
        if not self._is_body:
            self._file.write(content)
            self._is_body = content.endswith(b"\r\n\r\n")
            return
        self._file.write(content[: self._left])
        self._left -= min(self._left, len(content))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _GCS(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        storage, handler = _gcs_classes()
        self.faults = Faults()
        self.lock = threading.RLock()
        self.storage = storage(use_memory_fs=True)
        super().__init__(("127.0.0.1", 0), lambda *arguments: handler(self.storage, *arguments))
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up when they have what they need; that is no news."""


@pytest.fixture(scope="session")
def _gcs_server() -> Iterator[_GCS]:
    server = _GCS()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def gs(_gcs_server: _GCS) -> Iterator[Bucket]:
    """A bucket of gcp-storage-emulator."""
    with gcs_bucket(_gcs_server) as bucket:
        yield bucket


@contextlib.contextmanager
def gcs_bucket(server: _GCS) -> Iterator[Bucket]:
    """A new bucket, and the environment that leads to it while the context lasts."""
    from gcp_storage_emulator.handlers import buckets
    from google.cloud import storage as client

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        name = f"bucket-{next(_NUMBERS)}"
        buckets.create_bucket(name, server.storage)
        bucket = client.Client.create_anonymous_client().bucket(name)
        server.faults.forget()
        yield Bucket(
            uri=f"gs://{name}",
            faults=server.faults,
            put=lambda key, content: bucket.blob(key).upload_from_string(content),
            names=lambda: sorted(server.storage.objects.get(name, {})),
        )
        server.faults.forget()
