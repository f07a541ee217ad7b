"""Where a variant that failed begins to differ: the layer with the planted defect is named, and nothing is said of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteferry.config.load import load_job
from liteferry.evaluation.divergence import InnerTensor, first_divergences, localise_isolated, tasks_of, tensor_errors
from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks
from liteferry.evaluation.results import merge
from liteferry.exporting.export import export_isolated
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.planning import plan_models
from liteferry.report.model_report import build
from tests.support.programs import run_program

WRITER = """
import sys, numpy as np, keras
folder, random = sys.argv[1], np.random.default_rng(0)
layers = keras.layers
model = keras.Sequential([keras.Input((6,), name="x"), layers.Dense(8, "relu", name="before"),
    layers.Dense(8, name="beyond_float16"),
    layers.Dense(8, "tanh", name="after"), layers.Dense(3, name="scores")])
model.layers[1].set_weights([model.layers[1].get_weights()[0] * 1e6, np.zeros(8)])   # past 65,504: infinite in float16
model.layers[2].set_weights([model.layers[2].get_weights()[0] * 1e-6, np.zeros(8)])
model.save(f"{folder}/model.keras")
np.savez(f"{folder}/rows.npz", x=random.random((80, 6), dtype=np.float32))
"""

JOB = "models: [{checkpoints: model.keras}]\nsamples: {rows: {path: rows.npz}}\nvariants: [float32, float16, dynamic_int8]\n"


def tensor(name: str, value: list[float], position: int = 0) -> InnerTensor:
    return InnerTensor(name=name, operator="ADD", position=position, value=np.array(value, np.float32))


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([0.0, 0.0, 0.0], []),
        ([0.01, 0.3, 0.4, 0.02], ["t1", "t2"]),
        ([0.4, 0.01, 0.01], ["t0"]),
        ([0.01, np.inf, 0.5], ["t1"]),
        ([0.1] * 9, ["t0", "t1", "t2", "t3", "t4"]),
    ],
    ids=["equal", "from where it gets bad", "at the start", "infinity outweighs", "at most five"],
)
def test_the_first_tensors_with_half_of_the_greatest_error(errors: list[float], found: list[str]) -> None:
    expected = {f"t{index}": np.array([1.0, 0.5], np.float32) for index in range(len(errors))}
    observed = [tensor(f"t{index}", [1.0 + error, 0.5], index) for index, error in enumerate(errors)]
    assert [one.tensor for one in first_divergences(expected, observed, layers={})] == found


def test_what_has_no_namesake_of_its_shape_is_left_out() -> None:
    expected = {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}
    observed = [tensor("other", [9, 9]), tensor("a", [9, 9, 9]), tensor("b", [2, 1], 2)]
    assert [one.tensor for one in first_divergences(expected, observed, layers={})] == ["b"]


def test_every_inner_tensor_that_both_have_has_its_error_in_order_of_execution() -> None:
    expected = {name: np.array([2.0, 1.0], np.float32) for name in ("a", "b", "c")}
    observed = [tensor("a", [2, 1]), tensor("other", [9, 9], 1), tensor("b", [2.5, 1], 2), tensor("c", [np.inf, 1], 3)]
    found = tensor_errors(expected, observed)
    assert [(one.tensor, one.position, one.relative) for one in found] == [("a", 0, 0.0), ("b", 2, 0.25), ("c", 3, None)]


def test_a_fused_tensor_names_all_its_layers() -> None:
    name = "model_1/relu_1/Relu;model_1/conv_7/Conv2D;model_1/conv_7/add"
    layers = {"relu": "ReLU", "conv_7": "Conv2D", "conv": "Conv2D"}
    (found,) = first_divergences({name: np.ones(1, np.float32)}, [tensor(name, [2.0])], layers=layers)
    assert found.layers == ("relu", "conv_7")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder: Path = tmp_path_factory.mktemp("localise")
    run_program(WRITER, folder, folder=folder)
    (folder / "job.yaml").write_text(JOB)
    (plan,) = [fingerprint(plan) for plan in plan_models(load_job(folder / "job.yaml"), str(folder / "out"))]
    return plan, export_isolated([plan])[0]


def diverging(plan: Any, exported: Any) -> Any:
    evaluation = merge([evaluate_isolated(task, referenced=True) for task in shard_tasks(plan, exported)])
    found = [localise_isolated(task) for task in tasks_of(plan, exported, evaluation)]
    return build(plan, exported, found[0].told_in(evaluation) if found else evaluation)


def test_the_layer_that_float16_cannot_hold_is_named(exported: tuple[Any, Any]) -> None:
    report = diverging(*exported)
    assert report["variants"]["float32"]["status"] == "blessed", report["variants"]["float32"]["reason"]
    float16 = report["variants"]["float16"]
    # The quantizer writes infinity, TensorFlow's converter the largest float16: the nearer file is the one that is judged.
    assert float16["reason"]["code"] == "PARITY_OUT_OF_TOLERANCE"
    assert float16["diverging"][0]["layers"] == ("beyond_float16",), float16["diverging"]
    assert float16["diverging"][0]["relative"] > 0.5
    assert report["variants"]["float32"]["diverging"] == report["variants"]["float32"]["tensor_errors"] == []
    errors = {one["tensor"]: one["relative"] for one in float16["tensor_errors"]}
    assert float16["diverging"][0]["tensor"] in errors
    assert len(errors) > len(float16["diverging"]), "also of the tensors that are right"
    assert report["timings_s"]["localise"] > 0, "the search takes time, too"


def test_float32_is_held_against_the_graph(exported: tuple[Any, Any]) -> None:
    plan, facts = exported
    path = Path(plan.staging_directory()) / facts.variants["float32"].path
    whole = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(whole, 0)
    tensors = model.subgraphs[0].tensors
    (kernel,) = [t for t in tensors if list(t.shape) == [3, 8]]  # of the last layer, `scores`
    weights = np.array(model.buffers[kernel.buffer].data, np.uint8).view(np.float32) + 1
    model.buffers[kernel.buffer].data = weights.view(np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    try:
        report = diverging(plan, facts)
    finally:
        path.write_bytes(whole)
    float32 = report["variants"]["float32"]
    assert float32["status"] == "not_blessed"
    assert [one["layers"] for one in float32["diverging"]] == [("scores",)], float32["diverging"]
