"""`liteferry verify`: a sound run has no problem, and each kind of damage is found by its name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteferry.commands.verify import verify
from liteferry.errors import JobError
from liteferry.output.model_folder import vouch_for
from tests.support import Run, copy_of_out, liteferry

Damage = Callable[[Path], None]


@pytest.fixture
def copy(demo: Run, tmp_path: Path) -> Path:
    """The demo's output without its fleet of checkpoints: a verification needs nothing else."""
    return copy_of_out(demo, tmp_path / "out")


def test_a_finished_run_has_no_problem_and_every_blessed_artifact_ran_again(demo: Run, copy: Path) -> None:
    said = liteferry("verify", copy)
    reports = [demo.report(model_id) for model_id in demo.model_ids()]
    blessed = [report for report in reports if report["status"] == "blessed"]
    artifacts = sum(1 + sum(part["status"] == "blessed" for part in report["variants"].values()) for report in blessed)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == (
        f"{len(reports)} models, {len(blessed)} blessed, {artifacts} blessed artifacts run again: no problem\n"
    )


def edit_report(model_id: str, change: Callable[[dict[str, Any]], None]) -> Damage:
    def damage(out: Path) -> None:
        path = out / "models" / model_id / "report.json"
        report = json.loads(path.read_text())
        change(report)
        path.write_text(json.dumps(report))

    return damage


def change_a_byte(out: Path) -> None:
    path = out / "models/cnn/tflite/float16.tflite"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut_short(out: Path) -> None:
    path = out / "models/cnn/tflite/float16.tflite"
    path.write_bytes(path.read_bytes()[:-1])


def cut_the_report(out: Path) -> None:
    (out / "models/cnn/report.json").write_text('{"a": ')


def lose_a_shard(out: Path) -> None:
    next((out / "models/cnn/saved_model").rglob("variables.data*")).unlink()


def bless_by_hand(out: Path) -> None:
    folder = out / "models/broken_truncated"
    (folder / "NOT_BLESSED").rename(folder / "BLESSED")
    edit_report("broken_truncated", lambda report: report.update(status="blessed"))(out)


def set_statistic(report: dict[str, Any], **values: Any) -> None:
    for stats in report["variants"]["float32"]["parity"].values():
        stats.update(values)


def widen_a_gate(report: dict[str, Any]) -> None:
    report["variants"]["float32"]["gates"][0]["observed"] = -1.0


def fail_a_gate(report: dict[str, Any]) -> None:
    gate = next(gate for gate in report["variants"]["float32"]["gates"] if gate["metric"] == "max_rel")
    stats = report["variants"]["float32"]["parity"][gate["output"]]
    gate["observed"] = stats[gate["metric"]] = 1e9


def hold_no_float16(report: dict[str, Any]) -> None:
    report["variants"]["float16"]["held"]["weights"] = {"float32": 100}


def differ(report: dict[str, Any]) -> None:
    report["saved_model"]["second_opinion"] = {"status": "different", "code": "EXPORT_MISMATCH", "why": "0.3 off"}


def fail_a_required_variant(report: dict[str, Any]) -> None:
    report["variants"]["float16"]["status"] = "not_blessed"


def say_failed_in_the_fleet(out: Path) -> None:
    facts = json.loads((out / "fleet.json").read_text())
    next(model for model in facts["models"] if model["model_id"] == "cnn")["status"] = "failed"
    (out / "fleet.json").write_text(json.dumps(facts))


DAMAGES: dict[str, tuple[Damage, str | None, str]] = {
    "a byte changed": (change_a_byte, "cnn", "tflite/float16.tflite is not the file that was judged"),
    "a file cut short": (cut_short, "cnn", "tflite/float16.tflite has"),
    "a file gone": (lose_a_shard, "cnn", "variables.data-00000-of-00001 is gone"),
    "a file added": (
        lambda out: (out / "models/cnn/tflite/new.tflite").touch(),
        "cnn",
        "new.tflite is not listed in report.json",
    ),
    "no report": (lambda out: (out / "models/cnn/report.json").unlink(), "cnn", "report.json is missing"),
    "half a report": (cut_the_report, "cnn", "report.json is missing or not a report"),
    "another model's report": (edit_report("cnn", lambda r: r.update(model_id="mlp")), "cnn", "report.json is about 'mlp'"),
    "a report that nobody vouched for": (edit_report("cnn", lambda r: r.update(metadata={})), "cnn", "was written for another"),
    "both markers": (lambda out: (out / "models/cnn/NOT_BLESSED").touch(), "cnn", "the marker is BLESSED, NOT_BLESSED"),
    "no marker": (lambda out: (out / "models/cnn/BLESSED").unlink(), "cnn", "the marker is missing"),
    "blessed by hand": (bless_by_hand, "broken_truncated", "the model is blessed, but saved_model is not"),
    "a gate's observation changed": (edit_report("cnn", widen_a_gate), "cnn", "saw -1.0 against"),
    "a gate that is not met": (edit_report("cnn", fail_a_gate), "cnn", "max_rel = 1e+09, the limit is at most"),
    "fewer rows": (edit_report("cnn", lambda r: set_statistic(r, example_count=3)), "cnn", "float32: 3 of"),
    "NaN on one side": (edit_report("cnn", lambda r: set_statistic(r, nonfinite_mismatch=1)), "cnn", "are NaN or infinite on"),
    "no statistics": (edit_report("cnn", lambda r: r["variants"]["float32"].update(parity={})), "cnn", "was never compared"),
    "no rows": (edit_report("cnn", lambda r: r.update(samples=None)), "cnn", "does not say how many sample rows"),
    "older rules": (edit_report("cnn", lambda r: r.pop("rules_version")), "cnn", "it was judged by rules 1, today's are 2"),
    "a file that is not what its name says": (edit_report("cnn", hold_no_float16), "cnn", "the file is called float16, but only"),
    "a second opinion that differs": (edit_report("cnn", differ), "cnn", "float32 is blessed, but 0.3 off"),
    "a required variant": (edit_report("cnn", fail_a_required_variant), "cnn", "the model is blessed, but float16 is not"),
    "the fleet says otherwise": (say_failed_in_the_fleet, None, "fleet.json says failed of cnn, its own report says blessed"),
    "a model gone": (lambda out: shutil.rmtree(out / "models/cnn"), None, "fleet.json names cnn, which has no folder"),
    "no fleet": (lambda out: (out / "fleet.json").unlink(), None, "fleet.json cannot be read"),
    "a temporary": (lambda out: (out / "models/cnn/a.tflite.12.tmp").touch(), None, "a.tflite.12.tmp was left by"),
    "staging": (lambda out: (out / ".staging/progress").touch(), None, ".staging/progress was left by"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(copy: Path, name: str) -> None:
    damage, model_id, words = DAMAGES[name]
    damage(copy)
    problems = verify(str(copy), processes=1, with_rows=False).problems
    assert any(where == model_id and words in sentence for where, sentence in problems), problems
    # A damaged model is no other model's problem.
    assert {where for where, _ in problems} <= {model_id or "cnn", None}


def replace_and_vouch(out: Path, source: str) -> None:
    """Another model's artifact, with a report that gives its digest, and without the statement: the files alone look sound."""
    target = out / "models/cnn/tflite/float16.tflite"
    shutil.copy(out / source, target)
    content = target.read_bytes()
    vouched = {"sha256": f"sha256:{hashlib.sha256(content).hexdigest()}", "bytes": len(content)}
    edit_report("cnn", lambda report: report["files"].update({"tflite/float16.tflite": vouched}))(out)
    (out / "models/cnn/cnn.intoto.jsonl").unlink()
    (out / "models/cnn/BLESSED").write_bytes(vouch_for((out / "models/cnn/report.json").read_bytes()))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("models/compact/tflite/float32.tflite", "float16, output 'digit': "),
        pytest.param(
            "models/cnn/saved_model/1/saved_model.pb", "its blessed artifacts do not run again: ", marks=pytest.mark.nightly
        ),
    ],
    ids=["another model's", "no flatbuffer"],
)
def test_what_is_blessed_has_to_answer_as_the_report_says(copy: Path, source: str, words: str) -> None:
    replace_and_vouch(copy, source)
    said = liteferry("verify", copy, "--json")
    found = json.loads(said.stdout)
    assert said.returncode == 1
    assert [where for where, _ in found["problems"]] == ["cnn"], found["problems"]
    assert found["problems"][0][1].startswith(words)


def test_there_has_to_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no model was published here"):
        verify(str(tmp_path), processes=1)
