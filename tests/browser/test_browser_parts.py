"""The page of a fleet in parts, opened from a disk: it shows, filters and searches all models, and loads only what it needs."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from liteferry.output import fleet_files
from liteferry.report.model_report import fleet_entry
from liteferry.report.parts import dealing, page
from tests.browser.large_fleet import large_fleet
from tests.report.test_fleet_in_parts import fleet

HOSTILE = "<img src=x onerror=alert(1)>"


def shown(page: Any) -> list[str]:
    names: list[str] = page.locator("#matrix tbody th").all_inner_texts()
    return names


def files_of(requests: list[str]) -> list[str]:
    return [url.rpartition("/")[2] for url in requests if "/assets/fleet/" in url]


def test_a_page_in_parts_shows_filters_and_searches_every_model(
    open_page: Callable[..., Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "MOST_IN_ONE_FILE", 50)
    monkeypatch.setattr(dealing, "MODELS_IN_A_PART", 100)
    monkeypatch.setattr(page, "MODELS_IN_A_PIECE", 20)
    ids = [f"m{number:03}" for number in range(330)]
    entries = fleet("m321", "m150", ids=ids)
    entries[200]["metadata"] = {"note": HOSTILE}
    fleet_files.write(entries, str(tmp_path), "run")
    watched = open_page()
    opened = watched.open(tmp_path / "index.html")
    assert shown(opened)[:3] == ["m150", "m321", "m000"], "those that did not ship first"
    assert "330 models" in opened.locator(".dt-info").inner_text()
    assert len(files_of(watched.requests)) == 5, "the pieces of fifty models, no file for searches"
    opened.select_option("#matrix-controls [name=verdict]", "not_blessed")
    opened.locator(".dt-info", has_text="of 2 models").wait_for()
    assert shown(opened) == ["m150", "m321"]
    opened.select_option("#matrix-controls [name=verdict]", "")
    opened.fill("#matrix-controls [name=find]", "note= onerror")
    opened.locator(".dt-info", has_text="of 1 models").wait_for()
    assert shown(opened) == ["m200"]
    opened.fill("#matrix-controls [name=find]", "M29")
    opened.locator(".dt-info", has_text="of 10 models").wait_for()
    assert shown(opened) == [f"m{number}" for number in range(290, 300)]
    assert opened.locator("#matrix tbody a").first.get_attribute("href") == "models/m290/report.html"
    opened.fill("#matrix-controls [name=find]", "")
    opened.locator(".dt-info", has_text="330 models").wait_for()
    opened.locator(".dt-paging-button.last").click()
    opened.locator(".dt-info", has_text="301 to 330").wait_for()
    assert shown(opened)[-1] == "m329"
    assert watched.errors == [] and watched.outside(tmp_path.as_uri()) == []
    (tmp_path / "assets" / "fleet" / files_of(watched.requests)[0]).unlink()
    again = open_page()
    assert "is missing" in again.open(tmp_path / "index.html").locator("#searched").inner_text()


def test_twenty_thousand_models_stay_quick_and_small(demo: Any, open_page: Callable[..., Any], tmp_path: pathlib.Path) -> None:
    """Under 3 s and 15 MB before anything is searched."""
    report = json.loads(json.dumps(demo.report("cnn")))
    fleet_files.write(map(fleet_entry, large_fleet(report, 20_000)), str(tmp_path), "run")
    watched = open_page()
    started = time.monotonic()
    opened = watched.open(tmp_path / "index.html")
    assert time.monotonic() - started < 3
    loaded = [pathlib.Path(url.removeprefix("file://")) for url in watched.requests if url.startswith("file://")]
    assert sum(path.stat().st_size for path in loaded) < 15_000_000
    opened.fill("#matrix-controls [name=find]", "vision-cnn-00016")
    opened.locator(".dt-info", has_text="of 1 models").wait_for()
    assert shown(opened) == ["vision-cnn-00016"] and watched.errors == []
