"""What charts and the tables beside them take from a report, and what they do when it is not there or of another shape."""

from __future__ import annotations

import pytest

from liteferry.report import fleet_facts, render_index, render_model
from liteferry.report.pages.index_charts import index_charts
from liteferry.report.pages.model_charts import flips, model_charts, slices


def test_errors_are_counted_by_decade_exact_and_broken_ones_apart(blessed):
    report = blessed()
    for name, found in {"float32": 0.0, "float16": 3.1e-4, "dynamic_int8": 9.99e-3, "int8": "NaN"}.items():
        report["variants"][name]["parity"]["probabilities"]["max_abs"] = found
    errors = index_charts(fleet_facts([report]))["errors"]
    assert errors["labels"] == ["exact", "1e-4", "1e-3", "not finite"]
    assert {one["name"]: one["counts"] for one in errors["series"]} == {
        "float32": [1, 0, 0, 0],
        "float16": [0, 1, 0, 0],
        "dynamic_int8": [0, 0, 1, 0],
        "int8": [0, 0, 0, 1],
    }


def test_nothing_to_draw_is_no_chart(failed, read_page):
    assert not any(index_charts(fleet_facts([])).values())
    page = read_page(render_model(failed()))
    assert not page.all("canvas") and not any("chart.min" in one.get("src", "") for one in page.all("script"))


def test_histograms_of_artifacts_share_their_bins(blessed):
    report = blessed()
    bins = {
        "float32": [
            {"from": 0.0, "to": 0.0, "count": 90},
            {"from": 0.0, "to": 0.25, "count": 4},
            {"from": 0.25, "to": 0.5, "count": 6},
        ],
        "int8": [{"from": 0.5, "to": 1.0, "count": 100}],
    }
    for name, found in bins.items():
        report["variants"][name]["parity"]["probabilities"]["error_histogram"] = found
    (drawn,) = model_charts(report)
    assert drawn["histogram"]["labels"] == ["0.125", "0.25", "0.5"]
    series = {one["name"]: (one["counts"], one["exact"]) for one in drawn["histogram"]["series"]}
    assert series == {"float32": ([4, 6, 0], 90), "int8": ([0, 0, 100], 0)}


def test_an_artifact_that_is_exact_does_not_hide_the_others(blessed):
    report = blessed()
    report["variants"]["float32"]["scatter"] = {"probabilities": {"reference": [1.0, 2.0], "candidate": [1.0, 2.0]}}
    report["variants"]["int8"]["scatter"] = {"probabilities": {"reference": [1.0, 2.0], "candidate": [1.0, 2.5]}}
    (drawn,) = model_charts(report)
    assert drawn["scatter"] == [{"name": "int8", "points": [[1.0, 1.0], [2.0, 2.5]]}]


def test_flips_and_slices_have_their_tables(blessed, read_page):
    report = blessed()
    int8 = report["variants"]["int8"]
    int8["parity"]["probabilities"]["flips"] = [{"from": 3, "to": 8, "count": 12}]
    int8["slices"] = {
        "label:4": {"row_count": 180, "parity": {"probabilities": {"argmax_agreement": 1.0, "max_abs": 0.01}}},
        "label:3": {"row_count": 175, "parity": {"probabilities": {"argmax_agreement": 0.91, "max_abs": 0.2}}},
    }
    assert flips(report) == [{"artifact": "int8", "output": "probabilities", "from": "3", "to": "8", "count": "12"}]
    assert [row["name"] for row in slices(report)["rows"]] == ["label:3", "label:4"], "the worst agreement first"
    words = read_page(render_model(report)).words()
    assert "int8 probabilities 3 8 12" in words and "label:3 175 91 % · 0.2" in words


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (None, []),
        ([], []),
        ({"newly_failing": [], "newly_passing": None}, []),
        ({"newly_failing": ["cnn_17"]}, ["newly failing", "cnn_17"]),
        (
            {"drifted_metrics": [{"model_id": "cnn_17", "metric": "rmse", "before": 0.1}]},
            ["drifted metrics", "metric rmse, before 0.1"],
        ),
        ({"contract_changes": {"cnn_17": {"inputs": ["image"]}}}, ["contract changes", "cnn_17", "image"]),
        ({"other": ["<img src=x>", 3, None]}, ["other", "<img src=x>"]),
    ],
)
def test_changes_since_the_last_run_are_told_whatever_their_shape(blessed, read_page, changes, told):
    page = read_page(render_index(fleet_facts([blessed()]) | {"changes": changes}))
    text = page.words()
    assert ("What changed since the last run" in text) is bool(told)
    assert [words for words in told if words not in text] == []
    if told and "cnn_17" in told:
        assert page.text.count("cnn_17") >= 2 and "models/cnn_17/report.html" in {link["href"] for link in page.all("a")}


@pytest.mark.parametrize("value", [None, [], "text", 3, {"probabilities": None}, {"probabilities": {"reference": [1, "x"]}}])
@pytest.mark.parametrize("key", ["scatter", "slices", "parity"])
def test_a_page_stands_with_anything_in_these_keys(blessed, read_page, key, value):
    report = blessed()
    report["variants"]["int8"][key] = value
    read_page(render_model(report))
