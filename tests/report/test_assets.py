"""The scripts that pages share: vendored unchanged, with their licences, copied once."""

from __future__ import annotations

import hashlib
import os

import pytest

from liteferry.report.pages.render import asset_names, write_assets
from tools.vendor_assets import LIBRARIES

VENDORED = [(library, *wanted) for library in LIBRARIES for wanted in library.files.values()]


@pytest.mark.parametrize(("library", "name", "digest"), VENDORED, ids=lambda value: getattr(value, "name", value))
def test_a_vendored_file_is_what_npm_has(library, name, digest):
    assert hashlib.sha256((library.folder / name).read_bytes()).hexdigest() == digest, "run tools/vendor_assets.py"
    assert any(found.endswith(".LICENSE.txt") for found, _ in library.files.values()), f"{library.name} has no licence"


def test_assets_are_copied_once_and_keep_their_own_names(tmp_path):
    write_assets(str(tmp_path))
    folder = tmp_path / "assets"
    assert set(os.listdir(folder)) == set(asset_names().values())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "charts.00000000.js").write_text("of an older version")
    write_assets(str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / "charts.00000000.js").exists(), "pages of an older run still need it"


def test_scripts_of_ours_never_write_html():
    """Texts from reports reach the page as text: none of these takes HTML, evaluates text or sets a style as text."""
    for name in asset_names():
        if name.endswith(".js") and ".min." not in name:
            path = LIBRARIES[0].folder / name
            text = path.read_text(encoding="utf-8")
            for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http"):
                assert banned not in text, (path.name, banned)
