"""The index page in a real browser: sorting, filters, search, charts, links; nothing leaves the folder."""

from __future__ import annotations

import json
import pathlib
import time

import pytest

from liteferry.report import fleet_facts, write_fleet
from tests.browser.large_fleet import large_fleet
from tests.support.kitchen_sink.strangers import HOSTILE, SCRIPT

# Whether anything but transparency is on a canvas, and how many colours.
COLOURS = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const found = new Set();
  for (let place = 0; place < pixels.length; place += 4)
    if (pixels[place + 3] > 200) found.add(pixels.slice(place, place + 3).join());
  return found.size;
}"""

WHERE = """now => now.name || (now.closest('thead') ? 'header' : now.closest('tbody') ? 'row' : now.className)"""

CELLS = """() => [...document.querySelectorAll('#fleet tbody tr')].map(row =>
  [...row.cells].map(cell => cell.textContent.replace(/[✓✗?!]/g, '').trim()))"""


def cells(page):
    """The rows that are shown: model, model's verdict, variant, verdict, reason, size, worst error, agreement."""
    return page.evaluate(CELLS)


def column(page, number):
    return [row[number] for row in cells(page)]


def sort_by(page, name):
    """Clicks a column's header and waits until the table is drawn in that order. Returns the header."""
    header = page.locator("#fleet thead th", has_text=name)
    header.click()
    page.locator("#fleet thead th[aria-sort]", has_text=name).wait_for()
    return header


def fleet(run):
    return json.loads((run.out / "fleet.json").read_text())


@pytest.fixture
def index(demo, open_page):
    watched = open_page()
    watched.open(demo.out / "index.html")
    yield watched
    assert watched.errors == []
    assert watched.outside(demo.out.as_uri()) == []


def test_every_model_and_variant_stands_in_the_table_and_leads_to_its_model(index, demo):
    rows = fleet(demo)["rows"]
    assert [(row[0], row[2].removesuffix(" recommended")) for row in cells(index.page)] == [
        (row["model_id"], row["variant"] or "–") for row in rows
    ]
    recommended = {row[0]: row[2].split()[0] for row in cells(index.page) if row[2].endswith("recommended")}
    assert recommended == {row["model_id"]: row["variant"] for row in rows if row["recommended"]}
    for model_id in ("cnn", "broken_truncated"):
        index.page.locator("#fleet a", has_text=model_id).first.click()
        index.wait()
        assert index.page.locator("h1").inner_text() == model_id
        index.page.locator(".crumbs a").click()
        index.wait()


def test_a_click_and_the_enter_key_sort(index):
    header = sort_by(index.page, "Size")
    assert header.get_attribute("aria-sort") == "ascending"
    factors = {"B": 1, "kB": 1e3, "MB": 1e6}

    def sizes():
        parts = [text.split() for text in column(index.page, 5) if text != "–"]
        return [float(count) * factors[unit] for count, unit in parts]

    assert sizes() == sorted(sizes()) and len(set(sizes())) > 5
    assert column(index.page, 5)[-1] == "–", "what has no size stands last"
    header.locator("[role=button]").focus()
    index.page.keyboard.press("Enter")
    index.page.locator("#fleet thead th[aria-sort=descending]").wait_for()
    assert header.get_attribute("aria-sort") == "descending"
    assert sizes() == sorted(sizes(), reverse=True)
    assert column(index.page, 5)[-1] == "–", "in either direction"


def test_names_and_errors_sort_as_what_they_are(index):
    sort_by(index.page, "Worst error")
    errors = [float(text) for text in column(index.page, 6) if text != "–"]
    assert errors == sorted(errors) and len(errors) >= 27
    index.page.locator("#fleet thead th").first.click()
    index.page.locator("#fleet thead th:first-child[aria-sort]").wait_for()
    names = column(index.page, 0)
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("field", "choice", "place", "shown"),
    [
        ("model_status", "not_blessed", 1, {"not blessed"}),
        ("status", "blessed", 3, {"blessed"}),
        ("reason", "LOAD_CORRUPT", 4, {"LOAD_CORRUPT"}),
        ("variant", "float16", 2, {"float16"}),
    ],
)
def test_filters_leave_what_they_name(index, field, choice, place, shown):
    before = len(cells(index.page))
    index.page.select_option(f"[name={field}]", choice)
    assert set(column(index.page, place)) == shown
    assert 0 < len(cells(index.page)) < before
    assert f"of {before} in all" in index.page.locator("#fleet_wrapper .dt-info").inner_text()
    index.page.locator("button[type=reset]").click()
    index.page.locator("#fleet_wrapper .dt-info", has_not_text="in all").wait_for()
    assert len(cells(index.page)) == before


def test_search_takes_words_in_any_order_and_finds_paths(index):
    index.page.fill("[name=search]", "int8 broken_TRUNC")
    assert {(row[0], row[2]) for row in cells(index.page)} == {("broken_truncated", "dynamic_int8")}
    index.page.fill("[name=search]", "checkpoints/mlp.keras")
    assert set(column(index.page, 0)) == {"mlp"}
    index.page.fill("[name=search]", "<b>nothing</b>")
    assert "No row matches" in index.page.locator("#fleet tbody").inner_text()


def test_one_row_per_model_shows_the_recommended_one(index, demo):
    index.page.check("[name=once]")
    assert len(cells(index.page)) == fleet(demo)["totals"]["models"]
    chosen = [row[2] for row in cells(index.page) if row[1] == "blessed"]
    assert chosen and all(text.endswith("recommended") for text in chosen)


def test_metadata_and_folder_filter(open_page, tmp_path, demo):
    write_fleet(str(tmp_path), fleet_facts(large_fleet(demo.report("cnn"), 40)))
    page = open_page().open(tmp_path / "index.html")
    page.fill("[name=metadata]", "team=maps")
    assert len(column(page, 0)) > 10 and all(name.startswith("maps-") for name in column(page, 0))
    page.fill("[name=metadata]", "")
    page.select_option("[name=group]", "speech/2026-02")
    assert column(page, 0) and all(name.startswith("speech-") for name in column(page, 0))
    options = page.locator("#metadata-choices option").evaluate_all("found => found.map(one => one.value)")
    assert "team=vision" in options and "learning_rate=0.01" in options


def test_charts_draw_and_a_click_on_a_reason_filters(index):
    for name in ("chart-scatter", "chart-errors", "chart-reasons"):
        canvas = index.page.locator(f"#{name}")
        assert canvas.evaluate(COLOURS) > 3, name
        assert canvas.get_attribute("aria-label")
    canvas = index.page.locator("#chart-reasons")
    canvas.scroll_into_view_if_needed()
    place = canvas.evaluate(
        "canvas => { const {x, y, base} = Chart.getChart(canvas).getDatasetMeta(0).data[0]; return {x: (x + base) / 2, y}; }"
    )
    canvas.click(position=place)
    index.page.locator("#fleet_wrapper .dt-info", has_text="in all").wait_for()
    assert set(column(index.page, 4)) == {"CRASHED"}


def test_a_point_of_the_scatter_leads_to_its_model(index):
    place = index.page.evaluate(
        "() => { const chart = Chart.getChart('chart-scatter'); const {x, y} = chart.getDatasetMeta(0).data[0]; return {x, y}; }"
    )
    index.page.locator("#chart-scatter").click(position=place)
    index.page.wait_for_url("**/report.html#variant-float32")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_serious_accessibility_finding(demo, open_page, axe, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True).open(demo.out / "index.html")
    page.evaluate(axe)
    found = page.evaluate("() => axe.run().then(done => done.violations)")
    serious = [finding for finding in found if finding["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious] == []


def test_the_keyboard_reaches_filters_headers_rows_and_pages(index):
    index.page.locator("#filters [name=search]").focus()  # the matrix above it has a link in every cell
    reached = {"search"}
    for _ in range(40):
        index.page.keyboard.press("Tab")
        reached.add(index.page.locator(":focus").evaluate(WHERE) if index.page.locator(":focus").count() else "")
    assert {"search", "model_status", "reason", "variant", "once", "header", "row"} <= reached, reached


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_the_page_never_scrolls_sideways(demo, open_page, width):
    page = open_page(viewport={"width": width, "height": 800}).open(demo.out / "index.html")
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_paper_has_every_row_and_no_controls(index, demo):
    index.page.select_option("#fleet_wrapper .dt-length select", "50")
    index.page.emulate_media(media="print")
    index.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert len(cells(index.page)) == len(fleet(demo)["rows"])
    assert not index.page.locator("#filters").is_visible() and not index.page.locator("#fleet_wrapper .dt-paging").is_visible()


def test_without_scripts_every_model_is_a_link(demo, open_page):
    page = open_page(java_script_enabled=False).page
    page.goto((demo.out / "index.html").as_uri())
    links = page.locator("noscript li a")
    assert {
        link.split("/")[1] for link in links.evaluate_all("found => found.map(a => a.getAttribute('href'))")
    } >= demo.model_ids()


def test_the_pages_work_from_a_web_server(served, open_page):
    watched = open_page()
    page = watched.visit(served + "index.html")
    assert len(cells(page)) > 20
    assert watched.errors == [] and watched.outside(served) == []
    assert page.locator("#chart-scatter").evaluate(COLOURS) > 3


def test_hostile_names_and_metadata_change_nothing(kitchen_sink, open_page):
    watched = open_page()
    page = watched.open(kitchen_sink.out / "index.html")
    page.fill("[name=search]", HOSTILE)
    assert len(cells(page)) >= 1, "and it can be searched for"
    assert "LOAD_CORRUPT" in page.locator("#fleet tbody").inner_text()
    page.fill("[name=metadata]", SCRIPT[:20])
    assert page.locator("#fleet tbody a").count() >= 1
    page.locator("#fleet tbody a").first.click()
    watched.wait()
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")  # metadata is folded
    text = page.locator("body").inner_text()
    assert HOSTILE in text and SCRIPT in text
    assert page.locator("img").count() == 0
    assert watched.errors == [] and watched.outside(kitchen_sink.out.as_uri()) == []


def test_five_thousand_models_stay_quick_and_small(demo, open_page, tmp_path):
    """Under 3 s to a table that answers and under 15 MB in all."""
    write_fleet(str(tmp_path), fleet_facts(large_fleet(demo.report("cnn"), 5000)))
    files = [tmp_path / "index.html", *(tmp_path / "assets").iterdir()]
    assert sum(path.stat().st_size for path in files) < 15_000_000
    watched = open_page()
    started = time.monotonic()
    page = watched.open(pathlib.Path(tmp_path / "index.html"))
    assert time.monotonic() - started < 3
    started = time.monotonic()
    page.fill("[name=search]", "vision-cnn-00016")
    assert time.monotonic() - started < 1
    assert set(column(page, 0)) == {"vision-cnn-00016"}
    assert watched.errors == []
