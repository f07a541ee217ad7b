"""A kit in a browser: the module of its own README, with LiteRT.js in Chromium."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Run, liteferry

PACKAGES = {"core": "@litertjs/core@2.5.3", "wasm-utils": "@litertjs/wasm-utils@2.5.3"}
PAGE = """<!doctype html><script type="importmap">{"imports": {
"@litertjs/core": "/node_modules/@litertjs/core/dist/index.js",
"@litertjs/wasm-utils": "/node_modules/@litertjs/wasm-utils/dist/index.js"}}</script><body><script type="module">%s
document.body.dataset.done = "yes";</script>"""


def litert_js(folder: pathlib.Path) -> None:
    """Unpacks LiteRT.js below a folder; npm's own client gets it, once."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "liteferry-tests"
    cache.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        archive = cache / f"{package.strip('@').replace('/', '-').replace('@', '-')}.tgz"
        if not archive.exists():
            if shutil.which("npm") is None:
                pytest.skip("npm is not installed, which gets LiteRT.js")
            got = subprocess.run(["npm", "pack", package], cwd=cache, capture_output=True, text=True, check=False)
            if got.returncode:
                pytest.skip(f"npm cannot get {package}: {got.stderr[-200:]}")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "unpacked" / name, filter="data")
        shutil.copytree(folder / "unpacked" / name / "package", folder / "node_modules/@litertjs" / name)


@pytest.mark.nightly  # a package of 38 MB, and two commands
def test_a_kit_runs_in_a_browser_and_is_within(
    demo: Run, tmp_path: pathlib.Path, open_page: Callable[..., Any], served_folder: Callable[[pathlib.Path], str]
) -> None:
    kit = tmp_path / "kit"
    made = liteferry("kit", demo.out, "cnn", kit, "--variant", "dynamic_int8")
    assert made.returncode == 0, made.stderr
    litert_js(kit)
    module = (kit / "README.md").read_text().partition("```js\n")[2].partition("```")[0]
    (kit / "page.html").write_text(PAGE % module)
    page = open_page(accept_downloads=True).page
    page.goto(f"{served_folder(kit)}page.html")
    page.locator("body[data-done=yes]").wait_for(state="attached", timeout=120_000)
    (kit / "answers").mkdir()
    for link in page.locator("a[download]").all():
        with page.expect_download() as download:
            link.click()
        download.value.save_as(kit / "answers" / download.value.suggested_filename)
    judged = liteferry("compare", "--kit", kit, "--answers", kit / "answers")
    assert judged.returncode == 0, judged.stdout + judged.stderr
