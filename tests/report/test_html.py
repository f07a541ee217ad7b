"""Every page there is: escaped, self-contained, well-formed for every report, readable in both colour schemes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re

import pytest

from liteferry.report import fleet_facts, render_index, render_model
from liteferry.report.pages.render import asset_names, asset_path

IMAGE = "<img src=x onerror=alert(1)>"
SHARED = {asset_path(name) for name in asset_names()}
SCRIPT = "</script><script>alert(2)</script></style>"


FREE_NAMES = {
    "variants",
    "fidelity",
    "parity",
    "ops",
    "metadata",
    "signatures",
    "environment",
    "timings_s",
    "metrics",
    "latency_ms",
}


def hostile(report, key="x"):
    """Every text and every free name of a report made one that breaks out of HTML when it is not escaped. Statuses stay."""
    if isinstance(report, dict):
        return {f"{name}{SCRIPT}\"'" if key in FREE_NAMES else name: hostile(value, name) for name, value in report.items()}
    if isinstance(report, list):
        return [hostile(value, key) for value in report]
    return f"{IMAGE}{SCRIPT}\"'&" if isinstance(report, str) and key != "status" else report


@pytest.fixture
def pages(reports, blessed, not_blessed, failed):
    """Every kind of page there is, by name."""
    named = {
        "index": render_index(fleet_facts(reports, job={"runner": "DirectRunner"})),
        "all blessed": render_index(fleet_facts([blessed()])),
        "zero models": render_index(fleet_facts([])),
        "hostile index": render_index(fleet_facts([hostile(not_blessed()), hostile(failed())], job={IMAGE: SCRIPT})),
        "hostile model": render_model(hostile(not_blessed())),
        "nothing": render_model({}),
    }
    return named | {report["model_id"]: render_model(report) for report in reports}


def test_every_page_is_whole_and_fetches_nothing(pages, read_page):
    for name, html in pages.items():
        page = read_page(html)
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"img", "iframe", "object", "base", "svg"}, name
        for tag, attributes in page.tags:
            assert not any(attribute.startswith("on") or attribute in ("style", "action") for attribute in attributes), (
                name,
                tag,
            )
            source = attributes.get("src")
            assert source is None or (tag == "script" and source.removeprefix("../../") in SHARED), (name, tag, source)
            href = attributes.get("href")
            assert href is None or re.match(
                r"(data:,$|\.\./\.\./index\.html$|\./|models/|fleet\.|report\.json$|#[a-z]+$)", href
            ), (
                name,
                href,
            )
        assert "url(" not in page.style and "@import" not in page.style


def test_what_is_not_a_script_from_the_shared_folder_is_json_that_cannot_break_out(pages, read_page):
    for name, html in pages.items():
        inline = [attributes for attributes in read_page(html).all("script") if "src" not in attributes]
        assert all(attributes["type"] == "application/json" for attributes in inline), name
        for content in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S):
            assert not re.search("[<>&]", content), name
            json.loads(content)
        assert html.count("<script") == html.count("</script>") == len(read_page(html).all("script")), name


def test_the_security_policy_allows_the_pages_own_style_and_what_lies_beside_it(pages, read_page):
    for html in pages.values():
        page = read_page(html)
        (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
        digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
        assert policy == (
            f"default-src 'none'; script-src 'self'; style-src 'sha256-{digest}'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        )
        assert html.index("Content-Security-Policy") < html.index("<style>")


def test_pages_have_one_heading_and_tables_that_say_what_they_are(pages, read_page):
    for name, html in pages.items():
        page = read_page(html)
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels.count(1) == 1 and levels[0] == 1, name
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), name
        assert len(page.all("caption")) == len(page.all("table")), name
        assert all(th.get("scope") in ("col", "row") for th in page.all("th")), name
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name


def test_hostile_text_is_shown_as_text(blessed, read_page):
    report = blessed(IMAGE)
    report["metadata"] = {"note": SCRIPT, IMAGE: 1}
    index, model = read_page(render_index(fleet_facts([report]))), read_page(render_model(report))
    assert IMAGE in index.text and IMAGE in model.text and SCRIPT in model.text
    assert "models/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E/report.html" in [a["href"] for a in index.all("a")]


@pytest.mark.parametrize("path", ["javascript:alert(1)", "//evil.example/x", "a b#c?.tflite", "http://evil.example"])
def test_a_path_never_becomes_another_address(blessed, path, read_page):
    report = blessed()
    report["variants"]["float32"]["path"] = path
    hrefs = [attributes["href"] for attributes in read_page(render_model(report)).all("a")]
    assert all(":" not in href and not href.startswith("/") and "#" not in href[1:] for href in hrefs)


def test_control_characters_are_made_visible(failed, read_page):
    report = failed()
    report["reason"]["message"] = "\x1b[31mred\x1b[0m \u202egnp.exe\x00\ttab\nline"
    html = render_model(report)
    assert "␛[31mred␛[0m \ufffdgnp.exe␀\ttab\nline" in read_page(html).text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)


@pytest.mark.parametrize("missing", ["variants", "saved_model", "checkpoint", "reason", "timings_s", "environment", "model_id"])
def test_a_page_stands_without_any_one_key(not_blessed, missing, read_page):
    values: list[object] = [None, [], "text", 3]
    for value in values:
        read_page(render_model(not_blessed() | {missing: value}))
    report = not_blessed()
    del report[missing]
    read_page(render_model(report))


@pytest.mark.parametrize(
    "key", ["parity", "gates", "contract", "ops", "attempts", "worst_examples", "metrics", "reason", "bytes"]
)
def test_a_page_stands_without_any_one_key_of_a_variant(not_blessed, key, read_page):
    values: list[object] = [None, [None], {"x": None}, "text"]
    for value in values:
        report = not_blessed()
        report["variants"]["int8"][key] = value
        read_page(render_model(report))
        read_page(render_index(fleet_facts([report])))


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_in_both_colour_schemes(read_page):
    style = read_page(render_model({})).style
    palettes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)]
    light, dark = palettes[:2]
    assert set(light) == set(dark)
    pairs = [(ink, paper) for ink in ("ink", "quiet", "link") for paper in ("page", "panel", "code")]
    pairs += [(tone, f"{tone}-fill") for tone in ("good", "bad", "open")] + [
        ("good", "panel"),
        ("bad", "page"),
        ("ink", "open-fill"),
    ]
    for palette in (light, dark):
        for ink, paper in pairs:
            brighter, darker = sorted((luminance(palette[ink]), luminance(palette[paper])), reverse=True)
            assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (ink, paper)
