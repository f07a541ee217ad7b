"""What the pages say: the verdict first, then why, then everything that led to it."""

from __future__ import annotations

import json
import re

import pytest

from liteferry.errors import ReasonCode, Stage
from liteferry.parity.gates import METRICS
from liteferry.report import HINTS, fleet_facts, formats, hint_for, render_index, render_model
from liteferry.report.formats import STAGE_WORDS
from liteferry.report.pages import tables
from liteferry.report.pages.metric_tables import metric_tables
from liteferry.report.pages.model_view import numbers


@pytest.mark.parametrize("code", list(ReasonCode))
def test_every_reason_code_has_a_hint_and_a_page(code, failed, read_page):
    assert len(HINTS[code]) > 60
    assert HINTS[code].count("`") % 2 == 0
    report = failed()
    report["reason"] = {"code": code.value, "stage": "load", "message": f"what {code.value} says"}
    hint = " ".join(HINTS[code].replace("`", "").split())
    for html in (render_model(report), render_index(fleet_facts([report]))):
        words = read_page(html).words()
        assert code.value in words and f"what {code.value} says" in words and hint in words


def test_hints_are_complete_and_stages_have_words():
    assert set(HINTS) == set(ReasonCode)
    assert hint_for("TIMEOUT") == hint_for(ReasonCode.TIMEOUT) == HINTS[ReasonCode.TIMEOUT]
    assert "not known" in hint_for("NEW_CODE")
    assert set(STAGE_WORDS) == {stage.value for stage in Stage}


def test_the_index_leads_with_the_verdict_and_what_did_not_ship(reports, read_page):
    html = render_index(fleet_facts(reports))
    page = read_page(html)
    assert "1 of 3 models is blessed." in page.words()
    text = page.words()[page.words().index("What did not ship, and why") :]
    assert text.index("NEEDS_FLEX") < text.index("Every variant")
    hrefs = {attributes["href"] for attributes in page.all("a")}
    assert {f"models/{report['model_id']}/report.html" for report in reports} <= hrefs
    assert "models/gru_speech_003/report.html#variant-int8" in hrefs


def test_equal_messages_stand_once_with_all_their_models(failed, read_page):
    page = read_page(render_index(fleet_facts([failed(f"broken_{number:02}") for number in range(60)])))
    assert page.text.count("end-of-central-directory") == 1
    assert "60 models" in page.words() and "and 10 more" in page.words()
    assert len([a for a in page.all("a") if a["href"] == "models/broken_59/report.html"]) == 1


def test_a_long_message_is_cut_on_the_index_and_exact_on_the_models_page(failed, read_page):
    report = failed()
    report["reason"]["message"] = "x" * 5000 + "\n    the end"
    assert "the end" not in render_index(fleet_facts([report]))
    assert "x" * 5000 + "\n    the end" in read_page(render_model(report)).text


def test_variants_that_did_not_ship_are_named_also_for_a_blessed_model(blessed, read_page):
    report = blessed()
    reason = {"code": "METRIC_DROP", "stage": "judge", "message": "accuracy fell by 0.02"}
    report["variants"]["int8"] |= {"status": "not_blessed", "reason": reason}
    for html in (render_index(fleet_facts([report])), render_model(report)):
        words = read_page(html).words()
        assert "METRIC_DROP" in words and "accuracy fell by 0.02" in words
    assert "the SavedModel and 3 of 4 variants compute what the checkpoint computes on 1,797 rows" in words


def test_zero_models_is_said_and_not_a_pass(read_page):
    page = read_page(render_index(fleet_facts([])))
    assert "No model was found" in page.words()
    assert "Everything shipped" not in page.words() and not page.all("table")
    assert "not_blessed" in next(attributes["class"] for attributes in page.all("header"))


def test_a_page_from_fleet_json_is_the_page_from_memory(reports):
    facts = fleet_facts(reports, job={"runner": "DirectRunner"})
    assert render_index(json.loads(json.dumps(facts, sort_keys=True))) == render_index(facts)


def test_the_models_page_has_all_that_the_report_has(not_blessed, read_page):
    report = not_blessed()
    words = read_page(render_model(report)).words()
    assert "Not blessed: 2 of 4 variants stayed within the gates." in words
    assert report["reason"]["message"] in words
    assert report["variants"]["float16"]["reason"]["message"] in words
    expected = ["≥ 0.98 0.97996", "digit-0911", "digits-v3", "keras_v3", "2.21.0", "0.74 s", "(None, 8, 8, 1)", "FULLY_CONNECTED"]
    expected += ["element_shape to be static", "batch fixed at 1", "written by Keras 2.9.0", "zero_point -128", "TFLite: int8"]
    expected += [
        "Swish from my_models",
        "15 min 0 s",
        "8.0 GB",
        "1.2 GB",
        "required variants float32, float16, dynamic_int8, int8",
    ]
    expected += ["in brackets the change from the checkpoint", "26 % of float32", "quantization", "98 kB (98,304 bytes)"]
    assert [text for text in expected if text not in words] == []


def test_missed_gates_stand_first_and_anything_but_true_is_a_miss(blessed):
    report = blessed()
    report["variants"]["float32"]["gates"][0]["is_within"] = "yes"
    report["variants"]["int8"]["gates"][1]["is_within"] = None
    page = render_model(report)
    gates = re.findall(r'data-label="verdict">.*?</span> (within|outside)</span>', page)
    assert gates == ["outside"] * 2 + ["within"] * (len(gates) - 2) and len(gates) == 9


def test_the_noise_floor_stands_below_the_gates_and_a_raised_limit_says_so(blessed, read_page):
    report = blessed()
    unmeasured = read_page(render_model(report)).words()
    assert "Noise floor" not in unmeasured and "raised by noise" not in unmeasured
    report["variants"]["float32"]["gates"][0]["source"] = "noise"
    report["noise_floor"] = {
        "reference": {"rows": 64, "batch_sizes": [64, 7], "outputs": {"<b>": {"max_abs": 0.25, "max_rel": 0.125}}},
        "float32": {"rows": 1, "kernels": "builtin", "outputs": {"y": {"max_abs": None, "max_rel": None, "counts": False}}},
    }
    words = read_page(render_model(report)).words()
    assert words.count("raised by noise") == 1
    assert "<b>: the checkpoint itself in batches of 64, 7 differs by max_rel 0.125, max_abs 0.25, on 64 rows." in words
    assert (
        "y: the float32 file on other kernels than it ships with differs by no finite number, on 1 row; not used to raise"
        in words
    )


@pytest.mark.parametrize("floor", [None, 3, {"reference": None}, {"reference": {"outputs": {"y": None}, "batch_sizes": "many"}}])
def test_a_noise_floor_of_any_shape_leaves_the_page_whole(floor, blessed, read_page):
    assert "Gates" in read_page(render_model(blessed() | {"noise_floor": floor})).words()


def test_limits_say_which_side_is_within_as_the_gates_do():
    for metric, direction in METRICS.items():
        assert (metric in tables.HIGHER_IS_BETTER, metric in tables.LOWER_IS_BETTER) == (
            direction == "min",
            direction == "max",
        ), metric


def test_a_saved_model_that_is_not_blessed_leads(blessed, read_page):
    report = blessed()
    reason = {
        "code": "EXPORT_MISMATCH",
        "stage": "judge",
        "message": "output 'probabilities': max_rel is 0.4, the limit is 1e-05",
    }
    report |= {"status": "not_blessed", "reason": reason}
    report["saved_model"] |= {"status": "not_blessed", "reason": reason}
    words = read_page(render_model(report)).words()
    assert "Not blessed: the SavedModel is not proven to compute what the checkpoint computes." in words
    assert words.count("max_rel is 0.4") == 1 and "SavedModel ✗ not blessed" in words


def test_a_missed_task_metric_of_the_saved_model_is_not_told_as_a_difference(blessed, read_page):
    report = blessed()
    reason = {"code": "METRIC_DROP", "stage": "judge", "message": "accuracy is 0.8, the limit is at least 0.9"}
    report |= {"status": "not_blessed", "reason": reason}
    report["saved_model"] |= {"status": "not_blessed", "reason": reason}
    words = read_page(render_model(report)).words()
    assert "Not blessed: the SavedModel computes what the checkpoint computes, and a task metric is outside its limit." in words
    assert "is not proven" not in words


def test_five_numbers_of_the_recommended_variant_lead_the_page(blessed):
    report = blessed()
    found = {one["label"]: one["value"] for one in numbers(report)}
    assert list(found) == ["size", "largest difference", "same top class", "accuracy", "rows compared"]
    chosen = report["variants"][report["recommended_variant"]]
    assert found["accuracy"] == formats.human_number(chosen["metrics"]["accuracy"]["value"])
    assert found["size"] == formats.human_bytes(chosen["bytes"])
    assert numbers({}) == []


def test_a_worst_row_has_its_picture_and_the_largest_entries_of_both_answers(blessed, read_page):
    report = blessed()
    picture = "data:image/png;base64,iVBORw0KGgo="
    report["worst_rows"] = [{"id": "digit-7", "row": 7, "inputs": {"image": {"values": [], "image": picture}}}]
    answers = {"reference": ["0.05", "0.9", "0.01", "0.04"], "candidate": ["0.5", "0.4", "0.06", "0.04"]}
    report["variants"]["int8"]["worst_examples"] = [{"output": "y", "id": "digit-7", "row": 7, "max_abs": 0.5, **answers}]
    html = render_model(report)
    (row,) = (part for part in html.split("<tr>") if picture in part)
    assert "1: 0.9, 0: 0.05, 3: 0.04" in row
    assert "0: 0.5, 1: 0.4, 2: 0.06" in row


def test_a_variant_that_is_not_required_is_marked(blessed, read_page):
    report = blessed() | {"required_variants": ["float32"]}
    assert read_page(render_model(report)).words().count("not required") == 3


def test_a_saved_model_without_gates_is_not_shown_as_proven(blessed, read_page):
    report = blessed()
    report["saved_model"] |= {"gates": [], "status": None}
    words = read_page(render_model(report)).words()
    assert "no gates" in words and "within gates" not in words


def test_signatures_given_as_mappings_are_read_too(blessed, read_page):
    report = blessed()
    signature = {"inputs": {"image": {"shape": [None, 8], "dtype": "float32"}}, "outputs": {"y": "float32"}}
    report["saved_model"]["signatures"] = {"serving_default": signature}
    assert "image input (None, 8) float32" in read_page(render_model(report)).words()


def test_task_metrics_stand_beside_the_checkpoints(blessed, read_page):
    text = " ".join(read_page(render_model(blessed())).text.split())
    assert "on all rows; in brackets the change from the checkpoint" in text
    assert "0.9833 0.9827 (-6.0e-04)" in text


def test_slices_that_missed_a_limit_stand_first(blessed):
    report = blessed()
    tables = metric_tables(report)["tables"]
    assert [row["name"] for row in tables[1]["rows"]] == ["accuracy, label:3", "accuracy, label:4"]
    assert tables[1]["rows"][0]["cells"][:2] == ["0.98", "0.96 (-0.02) ✗"]
    many = {f"id:{number}": {"accuracy": {"value": 1.0, "reference": 1.0, "change": 0.0}} for number in range(100)}
    for variant in report["variants"].values():
        variant["metric_slices"] = many
    found = metric_tables(report)
    assert len(found["tables"][1]["rows"]) == 60
    assert found["notes"] == ["40 more rows of slices are in report.json."]


def test_problems_of_metrics_are_told(blessed, read_page):
    report = blessed()
    report["metrics"] = {"problems": ["AUC: labels are text"]}
    assert "AUC: labels are text" in read_page(render_model(report)).text
