"""`check --output OUT` says the disk that a run needs: an estimate from above, by what is left to do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from liteferry.cli import main
from liteferry.commands import disk_need as module
from liteferry.commands.disk_need import DiskNeed, disk_need
from liteferry.plan.model_plan import ModelPlan
from tests.output.test_publish import make_plan

MEGABYTE = 10**6


@pytest.fixture
def plan(tmp_path: Path) -> ModelPlan:
    return dataclasses.replace(
        make_plan(tmp_path / "out"), size_bytes=100 * MEGABYTE, variants=("float32", "float16", "dynamic_int8")
    )


def test_a_saved_model_each_version_kept_and_each_variant_count_by_their_weights(plan: ModelPlan) -> None:
    one = disk_need([plan], plan.out, processes=1)
    assert 275 * MEGABYTE <= one.output <= 280 * MEGABYTE
    assert disk_need([dataclasses.replace(plan, keep_versions=3)], plan.out, processes=1).output == one.output + 200 * MEGABYTE
    assert disk_need([dataclasses.replace(plan, variants=("my_recipe",))], plan.out, processes=1).output <= one.output


def test_work_counts_the_largest_models_that_are_worked_on_at_once(plan: ModelPlan) -> None:
    small = dataclasses.replace(plan, size_bytes=MEGABYTE)
    alone = disk_need([plan], plan.out, processes=1).work
    assert disk_need([plan, small, small], plan.out, processes=1).work == alone
    assert alone < disk_need([plan, small, small], plan.out, processes=2).work < 2 * alone


def test_too_little_is_said_and_a_store_has_no_end() -> None:
    need = DiskNeed(models=2, output=10 * MEGABYTE, work=MEGABYTE, free=5 * MEGABYTE)
    assert need.in_words() == (
        "disk: at most about 10 MB in OUT and 1.0 MB while it works for 2 models to do; "
        "5.0 MB are free there, which is too little"
    )
    assert not need.as_json()["is_enough"]
    assert dataclasses.replace(need, free=None).is_enough


def test_the_command_says_it_where_an_output_is_named(
    plan: ModelPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_free", lambda out: 10**12)
    arguments = ["check", "--checkpoints", plan.uri, "--variants", "float32"]
    main([*arguments, "--output", str(tmp_path / "elsewhere")])
    assert "disk: at most about 1.0 MB in OUT" in capsys.readouterr().out
    main([*arguments, "--json", "--output", str(tmp_path / "elsewhere")])
    assert json.loads(capsys.readouterr().out)["disk"]["models"] == 1
    main(arguments)
    assert "disk:" not in capsys.readouterr().out
    assert not (tmp_path / "elsewhere").exists(), "looking makes nothing"
