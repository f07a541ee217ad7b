"""A real browser on the pages of real runs. Chromium comes from the system (Debian: `apt-get install chromium`).

Without one these tests are skipped, and say so; with LITEFERRY_BROWSER=required, as in CI and `make browser`, they fail instead.
"""

from __future__ import annotations

import functools
import http.server
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import Run

VENDOR = pathlib.Path(__file__).parent / "vendor"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Watched:
    """A page of the browser with what it logged, asked for and popped up since it was made."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", self._refuse)
        page.on("request", lambda request: self.requests.append(request.url))

    def _refuse(self, dialog: Any) -> None:
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: pathlib.Path) -> Any:
        """Opens a page from disk and waits until its scripts are done."""
        return self.visit(path.as_uri())

    def visit(self, address: str) -> Any:
        self.page.goto(address)
        self.wait()
        return self.page

    def wait(self) -> None:
        if self.page.locator("script[src]").count():
            self.page.locator("html[data-ready=all]").wait_for(state="attached")

    def outside(self, folder: str) -> list[str]:
        """Requests for anything that does not lie below this address."""
        return [url for url in self.requests if not url.startswith((folder, "data:"))]


def chromium() -> str | None:
    return os.environ.get("LITEFERRY_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        message = "NO BROWSER: the pages were NOT tested. Install Debian's package `chromium`, or name one in LITEFERRY_CHROMIUM"
        if os.environ.get("LITEFERRY_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root, which CI is; the pages are ours.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Makes watched pages; keywords are Playwright's: viewport, color_scheme, java_script_enabled."""
    contexts = []

    def make(**options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        return Watched(context.new_page())

    yield make
    for context in contexts:
        context.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served_folder() -> Iterator[Callable[[pathlib.Path], str]]:
    """Serves folders until the test ends, as a bucket would; returns their addresses."""
    running = []

    def serve(folder: pathlib.Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()


@pytest.fixture
def served(demo: Run, served_folder: Callable[[pathlib.Path], str]) -> str:
    """The address of the demo's folder on a web server."""
    return served_folder(demo.out)


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, the accessibility checker, as a script to run inside a page."""
    return (VENDOR / "axe.min.js").read_text(encoding="utf-8")
