"""Policies as TF-Agents' PolicySaver lays them out: no serving_default, inputs named by their paths, signatures without rows. The
library itself does not install beside this TensorFlow, so TensorFlow writes the same signatures here.

Source of the layout: tf_agents/policies/policy_saver.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import liteferry
from liteferry.commands.check import check
from liteferry.commands.foresee import State
from liteferry.commands.inspect.contained import inspect
from liteferry.config.load import job_from_flags
from tests.support.programs import run_program

WRITER = """
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)


def save(path, is_recurrent):
    policy = tf.Module()
    policy.model_variables = [tf.Variable(rng.normal(size=shape).astype(np.float32)) for shape in ((4, 8), (8, 3))]
    policy.train_step = tf.Variable(-1, trainable=False, dtype=tf.int64)
    policy.metadata = {"env_steps": tf.Variable(7, dtype=tf.int64)}
    specs = [
        tf.TensorSpec((None,), tf.int32, name="0/step_type"),
        tf.TensorSpec((None,), tf.float32, name="0/reward"),
        tf.TensorSpec((None,), tf.float32, name="0/discount"),
        tf.TensorSpec((None, 4), tf.float32, name="0/observation"),
    ] + is_recurrent * [tf.TensorSpec((None, 8), tf.float32, name="1")]

    @tf.function(input_signature=specs)
    def action(step_type, reward, discount, observation, *state):
        hidden = tf.tanh(tf.add_n([observation @ policy.model_variables[0], *state]))
        return {"action": tf.argmax(hidden @ policy.model_variables[1], -1, tf.int32)} | ({"state": hidden} if state else {})

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32, name="batch_size")])
    def get_initial_state(batch_size):
        return {"policy_state": tf.zeros([batch_size, 8])} if is_recurrent else {}

    @tf.function(input_signature=[])
    def get_train_step():
        return {"int64": policy.train_step}

    @tf.function(input_signature=[])
    def get_metadata():
        return dict(policy.metadata)

    policy.action, policy.get_train_step, policy.get_metadata = action, get_train_step, get_metadata
    signatures = [("action", action), ("get_initial_state", get_initial_state)]
    signatures += [("get_train_step", get_train_step), ("get_metadata", get_metadata)]
    tf.saved_model.save(policy, path, signatures=dict(signatures))
    open(f"{path}/policy_specs.pbtxt", "w").close()


save("policy", False)
save("recurrent", True)
"""
ROWS = {
    "step_type": np.ones(32, np.int32),
    "reward": np.zeros(32, np.float32),
    "discount": np.ones(32, np.float32),
    "observation": np.random.default_rng(1).normal(size=(32, 4)).astype(np.float32),
}
STATE = np.random.default_rng(2).normal(size=(32, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("policies")
    run_program(WRITER, folder=here)
    np.savez(here / "steps.npz", **ROWS, state=STATE)  # type: ignore[arg-type]
    return here


def test_check_takes_the_action_and_columns_by_the_last_part_of_a_path(folder: Path) -> None:
    rows = str(folder / "steps.npz")
    found = [check(job_from_flags(checkpoints=[str(folder / name)], samples=rows)).models[0] for name in ("policy", "recurrent")]
    assert [model.state for model in found] == [State.READY, State.READY], found
    assert "input '0/observation' is fed by column 'observation', which has its name" in " ".join(found[0].notes)
    assert "input '1' is fed by column 'state', the only one that fits" in " ".join(found[1].notes)


@pytest.mark.nightly  # two exports; what check foresees is seen by day
@pytest.mark.parametrize(
    ("name", "rows"), [("policy", ROWS), ("recurrent", {**ROWS, "state": STATE})], ids=["plain", "recurrent"]
)
def test_a_policy_is_proven_by_its_action(folder: Path, tmp_path: Path, name: str, rows: dict[str, np.ndarray]) -> None:
    exported = liteferry.export(folder / name, rows, output=tmp_path, variants=["float32"], signature="action")
    assert exported.is_blessed, exported.reason
    assert exported.report["saved_model"]["second_opinion"]["status"] == "equal"
    assert exported.saved_model is not None
    kept = inspect(str(exported.saved_model))["graphs"][0]["signatures"]
    assert {"action", "get_initial_state", "get_train_step", "get_metadata"} <= set(kept)
