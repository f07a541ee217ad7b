"""A changed gate or policy makes a verdict of stored statistics, equal to a run from nothing; only what takes a model is run."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from liteferry.errors import ReasonCode
from liteferry.output.begin import find_finished
from liteferry.output.model_folder import scan
from liteferry.output.publish import judge_and_publish
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from tests.output.test_publish import evaluate, export, make_plan

LOOSE = {"float32": {"max_rel": 0.1, "max_abs": 0.2}}
NEAR = {"float32": {"max_rel": 0.1, "max_abs": 0.15}}
CLOSED = {"float32": {"max_abs": 1e-9}}
FREE_MODEL = {"saved_model": {"max_rel": 0.1}}


def plan_of(out: Path, gates: dict[str, Any], **changes: Any) -> ModelPlan:
    """A plan whose recipe digest follows its gates and policy, and whose work digest does not."""
    plan = make_plan(out, gates={**FREE_MODEL, **gates}, work_digest="sha256:the work", **changes)
    return dataclasses.replace(plan, recipe_digest=f"sha256:{json.dumps([plan.gates, plan.require], default=str)}")


def run(plan: ModelPlan, *, difference: float = 0.02, reason: ReasonCode | None = None) -> tuple[dict[str, Any], bool]:
    """What the fleet is told, and whether the model was worked on."""
    ready, told = find_finished(plan, force=False)
    if told is not None:
        return told, False
    (ready,) = begin_attempt([ready])
    return judge_and_publish(ready, export(ready, reason=reason), evaluate(difference=difference)), True


VERDICT = (
    *("status", "reason", "saved_model", "variants", "recommended_variant", "passed_over"),
    *("required_variants", "judged_by", "targets"),
)


@pytest.mark.parametrize(
    ("before", "after"),
    [(LOOSE, NEAR), (CLOSED, LOOSE), (CLOSED, {"float32": {"max_abs": 1e-8}})],
    ids=["blessed as before", "newly blessed", "refused as before"],
)
def test_other_gates_come_to_what_a_run_from_nothing_comes_to(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    run(plan_of(tmp_path / "out", before))
    told, worked = run(plan_of(tmp_path / "out", after))
    assert not worked
    again = scan(str(tmp_path / "out" / "models" / "a")).published_report()
    _, worked = run(plan_of(tmp_path / "new", after))
    assert worked
    fresh = scan(str(tmp_path / "new" / "models" / "a")).published_report()
    assert {key: again[key] for key in VERDICT} == {key: fresh[key] for key in VERDICT}
    assert again["files"] == fresh["files"]
    assert told["status"] == fresh["status"]
    assert run(plan_of(tmp_path / "out", after)) == (told, False), "and it stands the next time"


def test_other_requirements_come_from_the_report(tmp_path: Path) -> None:
    assert run(plan_of(tmp_path / "out", CLOSED))[0]["status"] == "not_blessed"
    told, worked = run(plan_of(tmp_path / "out", CLOSED, require=()))
    assert (told["status"], worked) == ("blessed", False)
    told, worked = run(plan_of(tmp_path / "out", CLOSED, require=("float32",)))
    assert (told["status"], worked) == ("not_blessed", False)
    assert (
        "the gates and the policy of today"
        in scan(str(tmp_path / "out" / "models" / "a")).published_report()["takes_back"]["why"]
    )


def test_the_files_are_the_same_ones(tmp_path: Path) -> None:
    run(plan_of(tmp_path / "out", CLOSED))
    path = tmp_path / "out" / "models" / "a" / "tflite" / "float32.tflite"
    before = os.stat(path).st_ino
    run(plan_of(tmp_path / "out", LOOSE))
    assert os.stat(path).st_ino == before, "not one byte was copied"
    assert (path.parent.parent / "BLESSED").exists()


def test_a_variant_that_fails_newly_is_run_for_where_it_begins_to_differ(tmp_path: Path) -> None:
    run(plan_of(tmp_path / "out", LOOSE))
    assert run(plan_of(tmp_path / "out", CLOSED))[1]


@pytest.mark.parametrize("change", ["gates of the SavedModel", "other work", "a report that does not say"])
def test_what_takes_the_model_is_run(tmp_path: Path, change: str) -> None:
    first = plan_of(tmp_path / "out", LOOSE)
    if change == "a report that does not say":
        first = dataclasses.replace(first, work_digest="")
    run(first)
    plan = plan_of(tmp_path / "out", NEAR)
    if change == "gates of the SavedModel":
        gates = {**plan.gates, "saved_model": {"max_rel": 0.2}}
        plan = dataclasses.replace(plan, gates=gates, recipe_digest="sha256:these gates")
    if change == "other work":
        plan = dataclasses.replace(plan, work_digest="sha256:other work")
    assert run(plan)[1]


def test_what_failed_before_anything_was_judged_fails_under_any_gates_and_is_not_run(tmp_path: Path) -> None:
    first, _ = run(plan_of(tmp_path / "out", LOOSE), reason=ReasonCode.LOAD_CORRUPT)
    told, worked = run(plan_of(tmp_path / "out", NEAR))
    assert (told["status"], told["reason"], worked) == ("failed", first["reason"], False)


@pytest.mark.nightly  # it measures time
def test_four_hundred_models_take_seconds(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "out", CLOSED)
    many = [dataclasses.replace(plan, model_id=f"m{number}") for number in range(400)]
    for one in many[:40]:
        run(one)
    other = plan_of(tmp_path / "out", LOOSE)
    began = time.process_time()
    for one in many[:40]:
        told, worked = run(dataclasses.replace(other, model_id=one.model_id))
        assert (told["status"], worked) == ("blessed", False)
    assert (time.process_time() - began) * 10 < 10.0
