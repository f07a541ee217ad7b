"""A runner that does a bundle again finds what the first time has published: nothing is lost, doubled, or worked on twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.output.finished import numbered
from liteferry.output.model_folder import scan
from liteferry.output.publish import judge_and_publish
from liteferry.pipeline.stages import export as stage
from liteferry.pipeline.stages.in_work import InWork
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.types import ExportedModel
from tests.output.test_publish import evaluate, export, make_plan


@pytest.fixture
def worked_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that are exported, by synthetic exports."""
    seen: list[str] = []

    def proven(plans: Any) -> Any:
        for plan in plans:
            seen.append(plan.model_id)
            yield plan, export(plan), evaluate()

    monkeypatch.setattr(stage, "proven_in_turn", proven)
    monkeypatch.setattr(stage, "export_isolated", lambda plans: [exported for _, exported, _ in proven(plans)])
    return seen


def family(out: Path) -> tuple[ModelPlan, ...]:
    """Three siblings as the stage gets them, each time with new work folders."""
    plan = make_plan(out)
    return begin_attempt([numbered(dataclasses.replace(plan, model_id=name)) for name in "abc"])


def handed_over(plans: tuple[ModelPlan, ...]) -> list[InWork]:
    found: list[InWork] = []
    stage._prove_in_turn(plans, found.append)
    return found


def publish(work: InWork) -> dict[str, Any]:
    return judge_and_publish(work.plan, work.exported, work.compared)


def test_what_was_published_before_the_bundle_was_lost_is_left_as_it_is(tmp_path: Path, worked_on: list[str]) -> None:
    plans = family(tmp_path / "out")
    first = publish(handed_over(plans)[0])
    before = scan(plans[0].model_directory()).raw_report()
    del worked_on[:]

    again = handed_over(begin_attempt(plans))
    told = {work.plan.model_id: publish(work) for work in again}
    assert worked_on == ["b", "c"]
    assert told.keys() == {"a", "b", "c"}
    assert told["a"] == first
    assert scan(plans[0].model_directory()).raw_report() == before
    assert {entry["status"] for entry in told.values()} == {"blessed"}


def test_a_model_alone_likewise(tmp_path: Path, worked_on: list[str]) -> None:
    (plan, *_) = family(tmp_path / "out")
    judge_and_publish(plan, export(plan), evaluate())
    (again,) = begin_attempt([plan])
    assert publish(stage._export(again))["status"] == "blessed"
    assert worked_on == []


def test_a_run_that_is_forced_works_on_what_an_earlier_run_has_published(tmp_path: Path, worked_on: list[str]) -> None:
    for work in handed_over(family(tmp_path / "out")):
        publish(work)
    del worked_on[:]
    assert [work.plan.model_id for work in handed_over(family(tmp_path / "out"))] == ["a", "b", "c"]
    assert worked_on == ["a", "b", "c"]


def test_siblings_that_a_stage_loses_are_reported_and_those_before_them_are_not_told_twice() -> None:
    plans: Any = tuple(make_plan_named(name) for name in "abc")
    entry = stage._Export(width=1)
    done = InWork(plan=plans[0], exported=ExportedModel())
    left = entry.left_of(plans, [done])
    assert [plan.model_id for plan in left] == ["b", "c"]
    with pytest.raises(RuntimeError, match="b, c ended without a result"):
        entry.finish(left, [None])
    reason = Reason(code=ReasonCode.INTERNAL, stage=Stage.EXPORT, message="lost")
    assert [(one.plan.model_id, one.exported.reason) for one in entry.recover(left, reason)] == [("b", reason), ("c", reason)]
    assert entry.finish((), [None]) == []


@dataclasses.dataclass
class Named:
    model_id: str


def make_plan_named(name: str) -> Any:
    return Named(name)
