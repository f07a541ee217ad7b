"""A model's page in a real browser: charts from the run's own numbers, snippets to copy, nothing outside the folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from liteferry.report.pages.render import render_model, write_assets
from tests.browser.test_browser_index import COLOURS


@pytest.fixture
def model(demo, open_page):
    watched = open_page()
    watched.open(demo.out / "models" / "two_halves" / "report.html")
    yield watched
    assert watched.errors == []
    assert watched.outside(demo.out.as_uri()) == []


def unfold(page, name):
    """Opens what is folded, and waits until its charts have a size."""
    page.locator(f"summary:has(#{name})").click()
    page.wait_for_function("() => [...document.querySelectorAll('details[open] canvas')].every(one => one.width > 0)")


def test_both_charts_of_every_output_draw(model, demo):
    unfold(model.page, "parity")
    outputs = demo.report("two_halves")["saved_model"]["fidelity"]
    assert len(outputs) == 2
    for index in range(len(outputs)):
        for kind in ("histogram", "scatter"):
            canvas = model.page.locator(f"#{kind}-{index}")
            assert canvas.evaluate(COLOURS) > 3, (kind, index)
            assert canvas.get_attribute("aria-label")


def test_the_charts_hold_what_the_run_measured(model, demo):
    report = demo.report("two_halves")
    output = next(iter(report["saved_model"]["fidelity"]))
    series = model.page.evaluate("() => Chart.getChart('histogram-0').data.datasets.map(one => [one.label, one.total])")
    drawn = {label.split()[0]: total for label, total in series}
    for name, variant in report["variants"].items():
        assert drawn[name] == variant["parity"][output]["element_count"]
    points = model.page.evaluate("() => Chart.getChart('scatter-0').data.datasets.map(one => [one.label, one.data.length])")
    assert dict(points)["dynamic_int8"] == len(report["variants"]["dynamic_int8"]["scatter"][output]["reference"]) > 100


def test_a_snippet_can_be_copied(model):
    button = model.page.locator("button.copy").first
    button.click()
    model.page.locator("button.copy", has_text="Copied").or_(model.page.locator("button.copy", has_text="Selected")).wait_for()
    assert "tf.saved_model.load" in model.page.evaluate("() => getSelection().toString()")


def test_every_page_of_the_run_is_quiet_and_leads_back(demo, open_page):
    watched = open_page()
    for model_id in sorted(demo.model_ids()):
        page = watched.open(demo.out / "models" / model_id / "report.html")
        assert page.locator("h1").inner_text() == model_id
        for href in page.locator("a[href]").evaluate_all("found => found.map(a => a.getAttribute('href'))"):
            if href.startswith("blob:"):  # what the page itself saves for Model Explorer
                continue
            if href.startswith("#"):
                assert page.locator(href).count() == 1, (model_id, href)
            else:
                assert (demo.out / "models" / model_id / href.partition("#")[0]).exists(), (model_id, href)
    assert watched.errors == [] and watched.outside(demo.out.as_uri()) == []


def test_a_failure_shows_how_to_see_it_again(demo, open_page):
    page = open_page().open(demo.out / "models" / "broken_truncated" / "report.html")
    assert "liteferry inspect" in page.locator("pre.snippet").first.inner_text()
    assert "LOAD_CORRUPT" in page.locator("#why + p").inner_text()


@pytest.mark.parametrize(
    ("model_id", "width", "scheme"),
    [
        ("two_halves", 1280, "dark"),
        ("two_halves", 360, "light"),
        ("broken_always_augments", 1280, "light"),
        pytest.param("two_halves", 1280, "light", marks=pytest.mark.nightly),  # each colour and each width is seen once by day
        pytest.param("broken_always_augments", 1280, "dark", marks=pytest.mark.nightly),
        pytest.param("broken_always_augments", 360, "light", marks=pytest.mark.nightly),
    ],
)
def test_no_serious_accessibility_finding_and_no_sideways_scroll(demo, open_page, axe, model_id, width, scheme):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "bypass_csp": True}
    page = open_page(**options).open(demo.out / "models" / model_id / "report.html")
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    page.evaluate(axe)
    found = page.evaluate("() => axe.run().then(done => done.violations)")
    serious = [finding for finding in found if finding["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious] == []


def test_a_link_to_what_is_folded_opens_it(model):
    model.page.locator(".contents a", has_text="Gates").click()
    assert model.page.locator("details:has(#gates)").get_attribute("open") is not None
    assert model.page.locator("details:has(#gates) table").is_visible()


def test_paper_has_what_is_folded(model):
    model.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert model.page.locator("details:not([open])").count() == 0


def test_errors_by_operator_are_drawn_and_saved_for_model_explorer(demo, open_page, tmp_path):
    report = copy.deepcopy(demo.report("cnn"))
    errors = [
        {"tensor": f"layer_{at};fused", "operator": "CONV_2D", "position": at, "relative": 0.1 * at or None} for at in range(6)
    ]
    first = {"tensor": "layer_4;fused", "layers": ["conv"], "operator": "CONV_2D", "position": 4, "max_abs": 1.0, "relative": 0.4}
    report["variants"]["dynamic_int8"] |= {"status": "not_blessed", "tensor_errors": errors, "diverging": [first]}
    folder = tmp_path / "models" / "cnn"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(render_model(report))
    write_assets(str(tmp_path))
    watched = open_page()
    page = watched.open(folder / "report.html")
    assert page.locator("#errors-by-operator").evaluate(COLOURS) > 2
    with page.expect_download() as saved:
        page.locator("a", has_text="dynamic_int8.node_data.json").click()
    found = json.loads(Path(saved.value.path()).read_text())
    assert found["main"]["results"]["layer_5;fused"] == {"value": 0.5}
    assert found["main"]["results"]["layer_0;fused"]["value"] > 1e6, "what is not finite is as wrong as can be"
    assert [stop["stop"] for stop in found["main"]["gradient"]] == [0, 1]
    assert watched.errors == []
