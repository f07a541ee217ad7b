"""Dataflow's REST service as far as a client sees it: takes jobs, says how they are. It runs none of them."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

_JOBS = re.compile(r"^/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs(?:/(?P<id>[^/]+)(?P<of>/\w+)?)?$")


class Service(http.server.ThreadingHTTPServer):
    """`jobs`: the JSON of each that was taken, with its id, project and region. `state`, `complaint`: what it says of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: list[dict[str, Any]] = []
        self.state = "JOB_STATE_RUNNING"
        self.complaint = ""
        # Beam's client takes the REST way for an endpoint with this word in it.
        self.endpoint = f"http://localhost:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        found = _JOBS.match(self.path.partition("?")[0])
        if found is None or found["id"] is None:
            self._answer(404, {"error": {"code": 404, "message": self.path}})
        elif found["of"]:
            error = {"id": "1", "time": "2026-01-01T00:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR"}
            told = [{**error, "messageText": self.server.complaint}] if self.server.complaint else []
            self._answer(200, {"jobMessages": told} if found["of"] == "/messages" else {})
        else:
            (job,) = (job for job in self.server.jobs if job["id"] == found["id"])
            self._answer(200, {**job, "currentState": self.server.state})

    def do_POST(self) -> None:
        found = _JOBS.match(self.path.partition("?")[0])
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if found is None or found["id"]:
            self._answer(404, {"error": {"code": 404, "message": self.path}})
            return
        number = f"2026-01-01_00_00_00-{len(self.server.jobs)}"
        self.server.jobs.append({**job, "id": number, "projectId": found["project"], "location": found["region"]})
        self._answer(200, {**self.server.jobs[-1], "currentState": "JOB_STATE_PENDING"})

    def _answer(self, status: int, facts: dict[str, Any]) -> None:
        content = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Tests look at `jobs`."""


@contextlib.contextmanager
def running() -> Iterator[Service]:
    with Service() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()
