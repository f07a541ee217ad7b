"""What older rules judged is judged again from its own statistics, or done again; a verdict that turns takes BLESSED away."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.verify import verify
from liteferry.config.load import parse_job
from liteferry.evaluation.results import CandidateResult, Evaluation
from liteferry.evaluation.verdict import Case, LackingError, case_of_report, case_of_run, verdict
from liteferry.output.begin import find_finished
from liteferry.output.finished import finished_report
from liteferry.output.model_folder import MARKERS, scan, vouch_for
from liteferry.output.publish import judge_and_publish
from liteferry.parity.output_stats import OutputStats
from liteferry.plan import planning as plans
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import rejudge
from liteferry.report.changes import changes_between, in_words, remember
from liteferry.version import RULES_VERSION
from tests.output.test_publish import evaluate, export, make_plan

MASK = np.array([0] * 500 + [1] * 10 + [2] * 490)
"""A class of one in a hundred."""


def stats(candidate: np.ndarray) -> Evaluation:
    ids = [str(row) for row in range(len(MASK))]
    equal, other = (OutputStats.compare(reference=MASK, candidate=side, ids=ids) for side in (MASK, candidate))
    return Evaluation(
        candidates={"saved_model": CandidateResult(stats={"y": equal}), "float32": CandidateResult(stats={"y": other})}
    )


def published(out: Path, evaluation: Evaluation | None = None, **gates: Any) -> tuple[ModelPlan, dict[str, Any]]:
    plan = make_plan(out, gates=gates)
    judge_and_publish(plan, export(plan), evaluation or evaluate())
    return plan, json.loads((Path(plan.model_directory()) / "report.json").read_text())


def put(plan: ModelPlan, report: dict[str, Any]) -> None:
    """The report in the model's folder, with the marker that it calls for."""
    folder, text = Path(plan.model_directory()), json.dumps(report).encode()
    (folder / "report.json").write_bytes(text)
    for marker in MARKERS:
        (folder / marker).unlink(missing_ok=True)
    (folder / ("BLESSED" if report["status"] == "blessed" else "NOT_BLESSED")).write_bytes(vouch_for(text))


def under_older_rules(report: dict[str, Any], *, blessed: bool | None = None) -> dict[str, Any]:
    """What rules that knew no parts would have said, had they kept today's statistics."""
    older = json.loads(json.dumps(report)) | {"rules_version": RULES_VERSION - 1}
    older["saved_model"]["second_opinion"] = {
        "status": "equal",
        "max_rel": 0.0,
        "rows": 8,
        "by": "keras",
        "why": None,
        "code": None,
    }
    if blessed:
        older |= {"status": "blessed", "reason": None}
        older["variants"]["float32"] |= {"status": "blessed", "reason": None}
    return older


def test_stored_statistics_come_to_the_same_verdict(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out", gates={"float32": {"max_abs": 0.05}})
    for difference in (0.0, 0.1):
        exported, evaluation = export(plan), evaluate(difference=difference)
        ran = {name: verdict(case_of_run(name, plan, exported, evaluation)) for name in ("saved_model", "float32")}
        judge_and_publish(plan, exported, evaluation)
        report = json.loads((Path(plan.model_directory()) / "report.json").read_text())
        assert {name: verdict(case_of_report(name, report)) for name in ran} == ran
        assert ran["float32"].is_blessed is (difference == 0.0)


def test_a_report_under_todays_rules_stands(tmp_path: Path) -> None:
    plan, report = published(tmp_path / "out")
    assert report["rules_version"] == RULES_VERSION
    assert (finished_report(plan) or {})["status"] == "blessed"
    put(plan, report | {"rules_version": RULES_VERSION + 1})  # of a later LiteFerry: its rules are no weaker
    assert finished_report(plan) is not None


def test_what_older_rules_judged_is_judged_again_in_place(tmp_path: Path) -> None:
    plan, report = published(tmp_path / "out")
    put(plan, under_older_rules(report))
    assert finished_report(plan) is None
    _, told = find_finished(plan, force=False)
    again = finished_report(plan)
    assert told is not None
    assert again is not None
    assert (again["status"], again["rules_version"]) == ("blessed", RULES_VERSION)
    assert again["judged_before"] == {"rules": RULES_VERSION - 1, "status": "blessed"}
    assert again["files"] == report["files"]


def test_a_blessing_that_turns_takes_the_marker_away_and_says_why(tmp_path: Path) -> None:
    plan, report = published(tmp_path / "out", stats(np.where(MASK == 1, 0, MASK)), float32={"mismatch_count": None})
    assert report["reason"]["code"] == "PARITY_OUT_OF_TOLERANCE"
    older = under_older_rules(report, blessed=True)
    put(plan, older)
    assert (Path(plan.model_directory()) / "BLESSED").exists()
    _, told = find_finished(plan, force=False)
    assert told is not None
    assert "class_recall" in told["reason"]["message"]
    assert not (Path(plan.model_directory()) / "BLESSED").exists()
    assert (Path(plan.model_directory()) / "tflite" / "float32.tflite").exists()
    changes = changes_between({"a": remember(older)}, {"a": remember(told)}, blessed_contracts={})
    (of_model, _) = changes["newly_failing"]
    assert of_model["why"] == f"the same bytes, judged by rules {RULES_VERSION}, before by rules {RULES_VERSION - 1}"
    assert of_model["why"] in in_words(changes)[0]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (("judged_by",), "by which limits"),
        (("saved_model", "second_opinion"), "second opinion"),
        (("variants", "float32", "parity", "y", "row_agreement"), "lack row_agreement"),
        (("saved_model", "fidelity", "y", "class_recall"), "lack class_recall"),
    ],
)
def test_where_statistics_lack_something_the_model_is_done_again(tmp_path: Path, lost: tuple[str, ...], words: str) -> None:
    plan, report = published(tmp_path / "out")
    older = under_older_rules(report)
    place = older
    for key in lost[:-1]:
        place = place[key]
    del place[lost[-1]]
    with pytest.raises(LackingError, match=words):
        rejudge.judged_again(older)
    put(plan, older)
    ready, told = find_finished(plan, force=False)
    assert told is None
    assert ready.judged_before == {"rules": RULES_VERSION - 1, "status": "blessed"}
    assert ready.version == 1  # the same function under the same number: a server sees no new one


def test_a_report_without_a_number_is_of_the_first_rules() -> None:
    assert rejudge.rules_of({}) == 1
    assert rejudge.is_outdated({"rules_version": None})


def test_a_second_opinion_that_differs_closes_everything(tmp_path: Path) -> None:
    _, report = published(tmp_path / "out")
    report["saved_model"]["second_opinion"] = {"status": "different", "code": "EXPORT_MISMATCH", "why": "0.3 off keras 3.15.1"}
    for name in ("saved_model", "float32"):
        reason = verdict(case_of_report(name, report)).reason
        assert reason is not None
        assert (reason.code.value, reason.message) == ("EXPORT_MISMATCH", "0.3 off keras 3.15.1")


class TestDigests:
    """LiteFerry's version is no part of what a model is, nor is a key that the job does not set."""

    JOB: ClassVar[dict[str, Any]] = {
        "models": [{"checkpoints": "a.keras", "metadata": {"a": 1}}],
        "variants": ["float32", "int8"],
    }

    def digests(self, tmp_path: Path, **changes: Any) -> tuple[str, str]:
        (tmp_path / "a.keras").write_text("x")
        entry = {**self.JOB["models"][0], **changes}
        job = parse_job({**self.JOB, "models": [entry], "gates": {"int8": {"max_abs": 0.1}}}, base_dir=str(tmp_path))
        (plan,) = plans.plan_models(job, str(tmp_path / "out"))
        return plan.recipe_digest, plan.export_recipe

    def test_are_those_of_0_1_0(self, tmp_path: Path) -> None:
        assert self.digests(tmp_path) == (
            "sha256:6e9aaa433a008e2f7b3ac6ede4a4b1e51ee2f8cbe4170e669a5cee298ac96331",
            "sha256:908b095eca04acf69c5f873c7878053a937c802350e5190c2206ec36f3077d70",
        )

    def test_hold_what_the_job_says_of_outputs(self, tmp_path: Path) -> None:
        changed = self.digests(tmp_path, outputs={"y": {"kind": "regression"}})
        assert changed[0] != self.digests(tmp_path)[0]
        assert changed[1] == self.digests(tmp_path)[1]

    def test_every_record_of_a_job_is_known(self) -> None:
        from liteferry.config import job as config

        assert set(plans._DIGESTED_ALWAYS) <= set(vars(config))
        for name, keys in plans._DIGESTED_ALWAYS.items():
            assert set(keys.split()) <= set(getattr(config, name).model_fields)


def test_every_row_has_to_be_compared() -> None:
    seen = evaluate().candidates["float32"].stats["y"].stored()
    case = Case(candidate="float32", like="float32", expected_outputs=("y",), statistics={"y": seen}, row_count=3)
    reason = verdict(case).reason
    assert reason is not None
    assert reason.message.startswith("float32: 2 of 3 sample rows were compared")
    assert verdict(dataclasses.replace(case, row_count=2)).is_blessed


class TestAnOutOf010:
    """What 0.1.0 left of a sound classifier, a regression with an offset whose int8 file it flattered, and a broken file."""

    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        shutil.copytree(Path(__file__).parent / "out_of_0_1_0", tmp_path / "out")
        return tmp_path / "out"

    def test_is_read(self, out: Path) -> None:
        folders = {name: scan(str(out / "models" / name)).published_report() for name in ("broken", "good", "pressure")}
        assert {name: report["status"] for name, report in folders.items()} == {
            "broken": "failed",
            "good": "blessed",
            "pressure": "blessed",
        }
        assert all(rejudge.is_outdated(report) for report in folders.values())

    def test_gets_its_pages_again(self, out: Path) -> None:
        assert rebuild_pages(str(out)) == 3
        assert "blessed" in (out / "models" / "pressure" / "report.html").read_text()

    def test_is_not_taken_for_proven(self, out: Path) -> None:
        said = dict(verify(str(out), processes=1, with_rows=False).problems[::-1])
        assert "judged by rules 1, today's are 2" in "".join(
            sentence for _, sentence in verify(str(out), processes=1, with_rows=False).problems
        )
        assert "broken" not in said

    def test_is_done_again_since_its_statistics_lack_something(self, out: Path) -> None:
        for name in ("good", "pressure"):
            with pytest.raises(LackingError):
                rejudge.judged_again(scan(str(out / "models" / name)).published_report())

    def test_says_why_a_verdict_turned(self, out: Path) -> None:
        before = json.loads((out / ".history" / "last_run.json").read_text())["models"]
        now = json.loads(json.dumps(before["pressure"])) | {"rules": 2, "rules_before": 1}
        now["artifacts"]["int8"] |= {"status": "not_blessed", "code": "PARITY_OUT_OF_TOLERANCE"}
        now["artifacts"]["int8"]["statistics"]["hPa"]["sqnr_db"] = -6.9
        changes = changes_between(before, {"pressure": now}, blessed_contracts={})
        assert [entry["why"] for entry in changes["newly_failing"]] == ["the same bytes, judged by rules 2, before by rules 1"]
        assert changes["drifted"] == []  # the statistic is another one under other rules
