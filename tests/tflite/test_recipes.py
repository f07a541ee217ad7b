"""A user's recipe of the AI Edge quantizer is one more variant: checked before anything runs, made, proven and gated like the
others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ai_edge_quantizer import recipe

from liteferry import config
from liteferry.errors import JobError
from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks
from liteferry.evaluation.results import merge
from liteferry.exporting.export import export_isolated
from liteferry.parity.gate_limits import DEFAULT_GATES
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.planning import plan_models
from liteferry.report.model_report import build
from tests.support import liteferry
from tests.support.programs import run_program

WRITER = """
import sys, numpy as np, keras
folder = sys.argv[1]
layers = [keras.Input((16,), name="x"), keras.layers.Dense(64, "relu", name="first"), keras.layers.Dense(64, name="second")]
keras.Sequential([*layers, keras.layers.Dense(4, name="scores")]).save(f"{folder}/model.keras")
np.savez(f"{folder}/rows.npz", x=np.random.default_rng(0).random((80, 16), dtype=np.float32))
"""

JOB = """
models: [{checkpoints: model.keras}]
samples: {rows: {path: rows.npz}}
variants: [float32]
recipes: {only_second: only_second.json, static: static.json}
gates: {static: {max_abs: 0.5}}
policy: {require: [float32, only_second]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("recipes")
    run_program(WRITER, folder, folder=folder)
    (folder / "job.yaml").write_text(JOB)
    (dynamic,) = recipe.dynamic_wi8_afp32()
    (folder / "only_second.json").write_text(json.dumps([{**dynamic, "regex": ".*second.*"}]))
    (folder / "static.json").write_text(json.dumps(recipe.static_wi8_ai8()))
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Any:
    (plan,) = [fingerprint(plan) for plan in plan_models(config.load_job(folder / "job.yaml"), str(folder / "out"))]
    exported = export_isolated([plan])[0]
    return build(plan, exported, merge([evaluate_isolated(task, referenced=True) for task in shard_tasks(plan, exported)]))


def test_a_recipe_is_a_variant_that_is_made_and_judged(report: dict[str, Any]) -> None:
    assert list(report["variants"]) == ["float32", "only_second", "static"]
    for name in ("only_second", "static"):
        variant = report["variants"][name]
        assert (variant["status"], variant["path"]) == ("blessed", f"tflite/{name}.tflite"), variant["reason"]
        assert variant["quantizer"] == "the AI Edge quantizer"
    assert report["variants"]["only_second"]["weights"]["int8"] == 64 * 64, "the recipe names one layer"


def test_its_gates_are_those_of_int8_with_the_users_over_them(report: dict[str, Any]) -> None:
    limits = {name: {gate["metric"]: gate["limit"] for gate in report["variants"][name]["gates"]} for name in report["variants"]}
    applied = {name: limit for name, limit in DEFAULT_GATES["int8"].items() if name in limits["only_second"]}
    assert limits["only_second"] == applied
    assert {"sqnr_db", "argmax_agreement", "row_agreement", "column_sqnr_db"} <= applied.keys()
    assert limits["static"] == {**applied, "max_abs": 0.5}


def test_its_name_claims_no_format(report: dict[str, Any]) -> None:
    """A file of one quantised layer is blessed as such; the report tells what it holds."""
    held = report["variants"]["only_second"]["held"]
    assert held["weights"]["int8"] == 64 * 64
    assert held["weights"]["float32"] > 0


def test_it_is_calibrated_and_keeps_what_it_says_of_inputs(report: dict[str, Any]) -> None:
    """`static_wi8_ai8` takes and gives integers; nothing is put over a recipe."""
    contract = report["variants"]["static"]["contract"]
    assert [side["dtype"] for side in (*contract["inputs"], *contract["outputs"])] == ["int8", "int8"]


def test_check_lists_it(folder: Path) -> None:
    done = liteferry("check", "--config", folder / "job.yaml")
    assert "1 checkpoint(s) x 3 variant(s): float32, only_second, static" in done.stdout, done.stdout + done.stderr


def test_its_content_is_part_of_what_a_report_depends_on(folder: Path, tmp_path: Path) -> None:
    def digest() -> str:
        return plan_models(config.load_job(folder / "job.yaml"), str(tmp_path))[0].recipe_digest

    before, path = digest(), folder / "only_second.json"
    text = path.read_text()
    path.write_text(text.replace("second", "first"))
    try:
        assert digest() != before
    finally:
        path.write_text(text)
    assert digest() == before


RULE = recipe.dynamic_wi8_afp32()[0]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("mine", None, "recipes.mine: {path} cannot be read"),
        ("mine", "{", "recipes.mine: {path} is no recipe of the AI Edge quantizer: Expecting"),
        ("mine", "{}", "recipes.mine: {path} is no recipe of the AI Edge quantizer: it is not a list of rules"),
        ("mine", "[]", "recipes.mine: {path} is no recipe of the AI Edge quantizer: it is not a list of rules"),
        ("mine", [{"regex": ".*"}], "rule 0 has no operation, algorithm_key, op_config"),
        ("mine", [RULE, {**RULE, "operation": "CONVOLVE"}], "rule 1: 'CONVOLVE' is no operation that it knows"),
        ("mine", [{**RULE, "algorithm_key": "guess"}], "recipes.mine: {path} is no recipe of the AI Edge quantizer: "),
        ("int8", [RULE], "recipes.int8: is the name of something else in a report; give the recipe another"),
        ("rows", [RULE], "recipes.rows: is the name of something else"),
        ("../up", [RULE], "recipes.../up: is no name for a variant; use letters, digits and _"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tmp_path: Path, name: str, content: Any, problem: str) -> None:
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    job = {"models": [{"checkpoints": "*.keras"}], "recipes": {name: str(path)}}
    with pytest.raises(JobError) as raised:
        config.parse_job(job, base_dir=None)
    assert len(raised.value.problems) == 1, raised.value.problems
    assert problem.format(path=path) in raised.value.problems[0]


def test_a_required_variant_has_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        config.parse_job({"models": [{"checkpoints": "*.keras"}], "policy": {"require": ["min"]}}, base_dir=None)
    assert "policy.require[0]: 'min' is not one of float32" in raised.value.problems[0]
