"""Changes since the last run: each is said once, by name and number, and a first run has none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.show import print_summary
from liteferry.output import fleet_files, model_folder
from liteferry.report import changes, history
from liteferry.report.changes import since_last_run
from liteferry.report.model_report import fleet_entry

TENSOR = {"name": "image", "position": 0, "tensor_index": 3, "tensor_name": "t", "dtype": "float32", "shape": [None, 8]}
QUANTIZED = {**TENSOR, "name": "digit", "dtype": "int8", "scale": 0.5, "zero_point": 3}
PARITY = {"max_rel": 2e-3, "sqnr_db": 40.0, "argmax_agreement": 0.99, "exact_agreement": 0.5, "rmse": 1.0}


def variant() -> dict[str, Any]:
    return {
        "status": "blessed",
        "reason": None,
        "path": "tflite/int8.tflite",
        "bytes": 10,
        "batch": "dynamic",
        "parity": {"digit": dict(PARITY)},
        "metrics": {"accuracy": {"value": 0.9}, "auc": {"value": None}},
        "contract": {"inputs": [dict(TENSOR)], "outputs": [dict(QUANTIZED)]},
    }


def report_of(model_id: str = "cnn") -> dict[str, Any]:
    return {
        "model_id": model_id,
        "status": "blessed",
        "reason": None,
        "checkpoint": {"uri": f"/{model_id}.keras"},
        "saved_model": {"path": "saved_model/1", "bytes": 1, "status": "blessed", "fidelity": {"digit": {"max_rel": 1e-7}}},
        "variants": {"int8": variant()},
    }


def refuse(report: dict[str, Any]) -> None:
    reason = {"code": "PARITY_OUT_OF_TOLERANCE", "stage": "judge", "message": "m"}
    report["variants"]["int8"] |= {"status": "not_blessed", "reason": reason}
    report |= {"status": "not_blessed", "reason": reason}


class Runs:
    """Runs in one OUT: each writes the fleet's files, as the pipeline's last stage does."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._number = 0

    def run(self, *reports: dict[str, Any], run_id: str | None = None) -> Any:
        self._number += 1
        slim = [fleet_entry(copy.deepcopy(report)) for report in reports]
        fleet_files.write(slim, str(self.out), run_id or f"run-{self._number}")
        return json.loads((self.out / "fleet.json").read_text())["changes"]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


NOTHING: dict[str, list[Any]] = {kind: [] for kind in changes.KINDS}


def test_the_first_run_has_none_and_the_same_again_has_no_change(runs: Runs) -> None:
    assert runs.run(report_of()) is None
    assert runs.run(report_of()) == NOTHING


def test_verdicts_that_turned_are_said_for_model_and_variant(runs: Runs) -> None:
    good, bad = report_of(), report_of()
    refuse(bad)
    runs.run(good)
    turned = {"model_id": "cnn", "was": "blessed", "is": "not_blessed", "reason": "PARITY_OUT_OF_TOLERANCE", "why": None}
    assert runs.run(bad) == {
        **NOTHING,
        "newly_failing": [{**turned, "variant": None, "held_back": False}, {**turned, "variant": "int8"}],
    }
    assert runs.run(bad) == NOTHING, "what failed before is not newly failing"
    passing = [(one["variant"], one["was"], one["is"]) for one in runs.run(good)["newly_passing"]]
    assert passing == [(None, "not_blessed", "blessed"), ("int8", "not_blessed", "blessed")]


@pytest.mark.parametrize(
    ("statistic", "now", "is_drift"),
    [
        ("max_rel", 4e-3, True),
        ("max_rel", 1e-3, True),
        ("max_rel", 3.9e-3, False),
        ("argmax_agreement", 0.98, True),
        ("argmax_agreement", 0.985, False),
        ("exact_agreement", 0.6, True),
        ("sqnr_db", 37.0, True),
        ("sqnr_db", 38.0, False),
        ("sqnr_db", None, False),  # equal outputs have none
        ("rmse", 99.0, False),  # has a unit: max_rel speaks for it
    ],
)
def test_statistics_drift_beyond_the_documented_threshold(runs: Runs, statistic: str, now: float | None, is_drift: bool) -> None:
    after = report_of()
    after["variants"]["int8"]["parity"]["digit"][statistic] = now
    runs.run(report_of())
    drift = {
        "model_id": "cnn",
        "variant": "int8",
        "output": "digit",
        "statistic": statistic,
        "before": PARITY[statistic],
        "now": now,
    }
    assert runs.run(after) == {**NOTHING, "drifted": [drift] if is_drift else []}


def test_noise_that_doubles_is_no_drift(runs: Runs) -> None:
    after = report_of()
    after["saved_model"]["fidelity"]["digit"]["max_rel"] = 9e-7
    runs.run(report_of())
    assert runs.run(after) == NOTHING


@pytest.mark.parametrize(
    ("metric", "now", "is_drift"), [("accuracy", 0.92, True), ("accuracy", 0.905, False), ("auc", 0.5, True)]
)
def test_task_metrics_drift(runs: Runs, metric: str, now: float, is_drift: bool) -> None:
    after = report_of()
    before = after["variants"]["int8"]["metrics"][metric]["value"]
    after["variants"]["int8"]["metrics"][metric]["value"] = now
    runs.run(report_of())
    drift = {"model_id": "cnn", "variant": "int8", "metric": metric, "before": before, "now": now}
    assert runs.run(after)["drifted"] == ([drift] if is_drift else [])


@pytest.mark.parametrize(
    ("side", "change", "what"),
    [
        ("inputs", {"position": 1}, "input 'image': position was 0, is 1"),
        ("inputs", {"dtype": "int8"}, 'input \'image\': dtype was "float32", is "int8"'),
        ("inputs", {"shape": [1, 8]}, "input 'image': shape was [null, 8], is [1, 8]"),
        ("outputs", {"scale": 0.25}, "output 'digit': scale was 0.5, is 0.25"),
        ("outputs", {"zero_point": 4}, "output 'digit': zero_point was 3, is 4"),
        ("outputs", {"name": "logits"}, "output 'digit' is gone"),
        ("inputs", {"tensor_index": 9, "tensor_name": "u"}, None),
    ],
)
def test_contracts_are_held_against_the_last_blessed_report(
    runs: Runs, side: str, change: dict[str, Any], what: str | None
) -> None:
    after = report_of()
    after["variants"]["int8"]["contract"][side][0] |= change
    runs.run(report_of())
    told = [entry["what"] for entry in runs.run(after)["contract_changes"]]
    assert told[:1] == ([what] if what else [])


def test_a_contract_change_is_said_until_the_model_is_blessed_with_it(runs: Runs) -> None:
    changed = report_of()
    changed["variants"]["int8"]["contract"]["inputs"][0]["dtype"] = "int8"
    refused = copy.deepcopy(changed)
    refuse(refused)
    runs.run(report_of())
    assert [len(runs.run(report)["contract_changes"]) for report in (refused, refused, changed, changed)] == [1, 1, 1, 0]


def test_models_of_other_jobs_in_the_same_out_are_remembered(runs: Runs) -> None:
    bad = report_of("b")
    refuse(bad)
    runs.run(report_of("a"), report_of("b"))
    assert runs.run(report_of("a")) == {**NOTHING, "gone": [{"model_id": "b", "was": "blessed"}]}
    assert [entry["model_id"] for entry in runs.run(bad)["newly_failing"]] == ["b", "b"]


def test_a_repeated_step_of_one_run_changes_nothing(runs: Runs) -> None:
    bad = report_of()
    refuse(bad)
    runs.run(report_of())
    first = runs.run(bad, run_id="one")
    assert first["newly_failing"] != []
    assert runs.run(bad, run_id="one") == first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"schema_version": 1, "models": {"cnn": 3}}',
        b'{"schema_version": 1, "blessed_contracts": {"cnn": {"int8": 1}}}',
        b'{"schema_version": 9}',
    ],
)
def test_a_damaged_history_is_a_new_beginning(runs: Runs, content: bytes) -> None:
    (runs.out / ".history").mkdir()
    (runs.out / ".history" / "last_run.json").write_bytes(content)
    assert runs.run(report_of()) is None
    assert runs.run(report_of()) == NOTHING


def test_changes_are_shown_and_stay_when_pages_are_built_again(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    bad = report_of()
    refuse(bad)
    bad["variants"]["int8"]["parity"]["digit"]["argmax_agreement"] = 0.5
    runs.run(report_of())
    found = runs.run(bad)
    facts = json.loads((runs.out / "fleet.json").read_text())
    print_summary(facts)
    shown = capsys.readouterr().out
    assert "Since the last run:\n  newly failing: cnn (PARITY_OUT_OF_TOLERANCE)\n  newly failing: cnn int8 (PARITY" in shown
    assert "  drifted: cnn int8 digit: argmax_agreement 0.99 -> 0.5\n" in shown
    assert "newly failing" in (runs.out / "index.html").read_text()
    (runs.out / "models" / "cnn").mkdir(parents=True)
    text = json.dumps(bad)
    (runs.out / "models" / "cnn" / "report.json").write_text(text)
    (runs.out / "models" / "cnn" / model_folder.marker_of(bad)).write_bytes(model_folder.vouch_for(text.encode()))
    rebuild_pages(str(runs.out))
    assert json.loads((runs.out / "fleet.json").read_text())["changes"] == found


def test_the_list_is_bounded(runs: Runs) -> None:
    many = {"newly_failing": [{"model_id": f"m{number}", "reason": "X"} for number in range(30)]}
    lines = changes.in_words(many, most=2)
    assert lines == ["newly failing: m0 (X)", "newly failing: m1 (X)", "newly failing: and 28 more, in fleet.json"]


def test_history_is_written_only_when_asked(tmp_path: Path) -> None:
    _, new = since_last_run(str(tmp_path), [fleet_entry(report_of())], run_id="a")
    assert not (tmp_path / ".history").exists(), "a run that does not end must leave the last one's history"
    history.write(str(tmp_path), new)
    assert (tmp_path / ".history" / "last_run.json").exists()
