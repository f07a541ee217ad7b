"""Takes the pictures in docs/images: `liteferry demo --with_broken`, then `python -m tools.screenshots demo_output`."""

from __future__ import annotations

import pathlib
import sys

from tests.browser.conftest import chromium

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "images"
WIDE, NARROW = (1280, 2000), (390, 1500)
PAGES = {"fleet": "index.html", "model": "models/two_halves/report.html"}


def take(out: pathlib.Path) -> list[pathlib.Path]:
    """Writes a wide and a narrow picture of each page. Returns their paths."""
    from playwright.sync_api import sync_playwright

    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name, page_path in PAGES.items():
            for size, (width, height) in {"wide": WIDE, "narrow": NARROW}.items():
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
                page.goto((out / page_path).resolve().as_uri())
                page.locator("html[data-ready=all]").wait_for(state="attached")
                if name == "fleet":
                    page.evaluate("() => document.querySelectorAll('details[open]').forEach(one => { one.open = false; })")
                page.screenshot(path=FOLDER / f"{name}_{size}.png")
                taken.append(FOLDER / f"{name}_{size}.png")
        browser.close()
    return taken


if __name__ == "__main__":
    for path in take(pathlib.Path(sys.argv[1])):
        print(path)
