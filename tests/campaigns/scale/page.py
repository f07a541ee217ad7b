"""What a fleet's page takes: `python -m tests.campaigns.scale.page OUT NAME` opens OUT/index.html in Chromium from the disk.

Says the seconds until its table answers, the megabytes that it has loaded by then, and the seconds until a search shows the model
NAME alone.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Sequence

from tests.browser.conftest import Watched, chromium


def measured(page: Watched, out: pathlib.Path, name: str) -> str:
    """The line that the command prints."""
    started = time.monotonic()
    opened = page.open(out / "index.html")
    ready_s = time.monotonic() - started
    loaded = {pathlib.Path(url.removeprefix("file://")) for url in page.requests if url.startswith("file://")}
    size = sum(path.stat().st_size for path in loaded)
    started = time.monotonic()
    opened.fill("#matrix-controls [name=find]", name)
    opened.locator(".dt-info", has_text="of 1 models").wait_for()
    found_s = time.monotonic() - started
    return f"interactive after {ready_s:.1f} s, {size / 1e6:.1f} MB in {len(loaded)} files; {name} found in {found_s:.1f} s"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What a fleet's page takes.")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("name", help="the id of one model")
    chosen = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(60_000)
        print(measured(Watched(context.new_page()), chosen.out.resolve(), chosen.name))
        browser.close()


if __name__ == "__main__":
    main()
