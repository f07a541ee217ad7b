"""Reports -> rows, facts, table, files."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from liteferry.report import fleet_facts, fleet_rows, fleet_table, write_fleet
from liteferry.report.fleet import COLUMNS
from liteferry.report.pages.render import asset_names
from liteferry.storage import beneath


def test_a_model_has_one_row_per_variant_down_the_ladder(blessed):
    rows = fleet_rows(blessed())
    assert [row["variant"] for row in rows] == ["float32", "float16", "dynamic_int8", "int8"]
    assert all(list(row) == list(COLUMNS) for row in rows)
    row = rows[2]
    assert (row["model_id"], row["status"], row["variant_status"]) == ("cnn_17", "blessed", "blessed")
    assert row["path"] == "models/cnn_17/tflite/dynamic_int8.tflite"
    assert row["saved_model_path"] == "models/cnn_17/saved_model/1"
    assert (row["bytes"], row["batch"], row["example_count"]) == (21_344, "dynamic", 1797)
    assert (row["worst_max_abs"], row["min_argmax_agreement"]) == (0.0121, 0.99944)
    assert row["seconds"] == pytest.approx(4.46)
    assert json.loads(row["metadata_json"])["learning_rate"] == 0.001
    assert [row["recommended"] for row in rows] == [False, False, True, False]
    assert [row["required"] for row in rows] == [True, False, True, False]
    assert [row["required"] for row in fleet_rows(blessed() | {"required_variants": None})] == [None] * 4


def test_a_model_without_variants_has_one_row_with_its_reason(failed):
    (row,) = fleet_rows(failed())
    assert row["variant"] is None and row["variant_status"] is None and row["path"] is None
    assert (row["status"], row["reason_code"], row["reason_stage"]) == ("failed", "LOAD_CORRUPT", "load")
    assert "end-of-central-directory" in row["reason_message"]
    assert row["recommended"] is False


def test_the_worst_is_taken_over_outputs_and_nan_is_the_worst(blessed):
    report = blessed()
    parity = report["variants"]["float32"]["parity"]
    parity["boxes"] = parity["probabilities"] | {"max_abs": 0.5, "cosine": 0.25, "argmax_agreement": None, "example_count": 12}
    row = fleet_rows(report)[0]
    assert (row["worst_max_abs"], row["min_cosine"], row["min_argmax_agreement"], row["example_count"]) == (0.5, 0.25, 1.0, 12)
    for spelled in (math.nan, "NaN"):
        parity["boxes"] |= {"max_abs": spelled, "cosine": spelled, "nonfinite_mismatch": 3}
        row = fleet_rows(report)[0]
        assert math.isnan(row["worst_max_abs"]) and math.isnan(row["min_cosine"])
        assert row["nonfinite_mismatch"] == 3


def test_a_variant_reason_is_its_own_or_else_the_models(not_blessed):
    report = not_blessed()
    report["variants"]["dynamic_int8"] |= {"status": "failed", "reason": None}
    codes = {row["variant"]: row["reason_code"] for row in fleet_rows(report)}
    assert codes == {
        "float32": None,
        "float16": "NEEDS_FLEX",
        "dynamic_int8": "PARITY_OUT_OF_TOLERANCE",
        "int8": "PARITY_OUT_OF_TOLERANCE",
    }


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"model_id": None, "status": None, "variants": None, "saved_model": None, "checkpoint": None, "metadata": None},
        {"status": "blessed?", "variants": [], "reason": "text", "timings_s": {"load": None}, "samples": "digits"},
        {"variants": {"int8": None, "float16": {"parity": {"y": None}, "bytes": "many", "gates": None, "contract": []}}},
    ],
)
def test_whatever_is_missing_reads_as_failed_and_never_raises(report):
    rows = fleet_rows(report)
    assert {row["status"] for row in rows} == {"failed"}
    assert not any(row["recommended"] for row in rows)
    assert fleet_facts([report])["totals"]["failed"] == 1
    assert fleet_table(rows).num_rows == len(rows)


def test_a_model_is_never_counted_as_blessed_by_an_unknown_word():
    reports = [{"model_id": word, "status": word} for word in ("Blessed", "unverifiable", "ok", "")]
    totals = fleet_facts(reports)["totals"]
    assert (totals["blessed"], totals["not_blessed"], totals["failed"]) == (0, 1, 3)


def test_facts_are_totals_and_models_in_the_order_of_their_ids(reports):
    facts = fleet_facts(reports, job={"started": "2026-07-30T09:12:03Z"})
    assert facts["schema_version"] == 1
    assert [model["model_id"] for model in facts["models"]] == ["broken_3", "cnn_17", "gru_speech_003"]
    totals = facts["totals"]
    assert (totals["models"], totals["blessed"], totals["not_blessed"], totals["failed"]) == (3, 1, 1, 1)
    assert totals["by_reason"] == {"LOAD_CORRUPT": 1, "PARITY_OUT_OF_TOLERANCE": 1}
    assert totals["by_variant"]["float16"] == {"blessed": 1, "not_blessed": 0, "unverifiable": 1, "failed": 0}
    assert facts["models"][1]["variants"]["dynamic_int8"]["bytes"] == 21_344
    assert facts["run"] == {"started": "2026-07-30T09:12:03Z"}


def test_reasons_add_up_to_what_is_not_blessed(reports, failed):
    facts = fleet_facts([*reports, {"model_id": "silent"}, failed("broken_4")])
    totals = facts["totals"]
    assert sum(totals["by_reason"].values()) == totals["not_blessed"] + totals["failed"]
    assert totals["models"] == totals["blessed"] + totals["not_blessed"] + totals["failed"]


def test_the_order_of_reports_does_not_change_a_byte(tmp_path, reports):
    for name, order in (("one", reports), ("two", reports[::-1])):
        write_fleet(str(tmp_path / name), fleet_facts(iter(order)))
    for file in ("fleet.json", "fleet.parquet", "index.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_schema_is_the_same_for_many_rows_and_for_none(reports):
    facts = fleet_facts(reports)
    full, empty = fleet_table(facts["rows"]), fleet_table([])
    assert full.num_rows == 9 and empty.num_rows == 0
    assert full.schema.equals(empty.schema)
    assert full.schema.names == list(COLUMNS)
    assert full.schema.field("bytes").type == pa.int64()
    assert full.schema.field("worst_max_abs").type == pa.float64()
    assert full.schema.field("recommended").type == pa.bool_()
    assert full.schema.field("reason_code").type == pa.string()


def test_the_files_hold_the_facts(tmp_path, reports, blessed):
    strange = blessed("nan")
    strange["variants"]["int8"]["parity"]["probabilities"]["max_abs"] = math.inf
    strange["variants"]["float16"]["parity"]["probabilities"]["max_abs"] = math.nan
    facts = fleet_facts([*reports, strange])
    write_fleet(str(tmp_path), facts)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    read_back = json.loads((tmp_path / "fleet.json").read_text(), parse_constant=refuse)
    by_variant = {row["variant"]: row["worst_max_abs"] for row in read_back["rows"] if row["model_id"] == "nan"}
    assert (by_variant["int8"], by_variant["float16"]) == ("Infinity", "NaN")
    table = pyarrow.parquet.read_table(io.BytesIO((tmp_path / "fleet.parquet").read_bytes()))
    assert table.column("model_id").to_pylist() == [row["model_id"] for row in facts["rows"]]
    assert math.inf in table.column("worst_max_abs").to_pylist()
    assert fleet_table(read_back["rows"]).column("worst_max_abs").to_pylist()[1] == facts["rows"][1]["worst_max_abs"]


def test_the_index_is_written_last(tmp_path, monkeypatch, reports):
    written = []
    monkeypatch.setattr(beneath, "write_bytes", lambda folder, name, content: written.append(name.rsplit("/", 1)[-1]))
    write_fleet(str(tmp_path), fleet_facts(reports))
    assert written[:2] == ["fleet.json", "fleet.parquet"]
    assert written[-1] == "index.html", "whoever opens it must find its scripts"
    assert set(written[2:-1]) == set(asset_names().values())


def test_names_that_utf8_cannot_hold_reach_every_file(tmp_path, failed):
    report = failed("bad\udcff\x00name")
    report["checkpoint"]["uri"] = "checkpoints/\udcff.keras"
    report["metadata"] = {"note": "\udcff"}
    write_fleet(str(tmp_path), fleet_facts([report]))
    assert "\\udcff" in (tmp_path / "index.html").read_text()


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, liteferry.report; "
        "print([name for name in ('jinja2', 'pyarrow', 'rich', 'tensorflow', 'apache_beam') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_what_families_save_in_searches_is_added_up() -> None:
    def searched(model_id: str, candidates: int, *, from_family: bool) -> dict[str, Any]:
        auto = {"status": "blessed", "auto": {"candidates": candidates, "from_family": from_family}}
        return {"model_id": model_id, "status": "blessed", "variants": {"auto": auto}}

    reports = [searched("a", 30, from_family=False), searched("b", 1, from_family=True), searched("c", 1, from_family=True)]
    assert fleet_facts(reports)["totals"]["auto"] == {"searched": 1, "from_family": 2, "candidates": 32, "candidates_saved": 58}
    assert set(fleet_facts([{"model_id": "a", "status": "blessed"}])["totals"]["auto"].values()) == {0}
