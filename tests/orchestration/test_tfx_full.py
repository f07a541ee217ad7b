"""All of TFX around the component: a real ImportExampleGen before it, a real Pusher behind it. `make test-tfx-full`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from liteferry.tfx import LiteFerrySpec
from tests.orchestration.test_tfx_local import Launch, Store


def test_channels_are_the_standard_artifacts() -> None:
    inputs = {name: channel.type for name, channel in LiteFerrySpec.INPUTS.items()}
    outputs = {name: channel.type for name, channel in LiteFerrySpec.OUTPUTS.items()}
    standard = standard_artifacts
    assert inputs == {"models": standard.Model, "examples": standard.Examples, "schema": standard.Schema}
    assert (outputs["exported_models"], outputs["blessing"]) == (standard.Model, standard.ModelBlessing)


@pytest.mark.parametrize(("checkpoint", "is_pushed"), [("narrow", True), ("broken", False)])
def test_pusher_pushes_what_is_blessed_and_nothing_else(
    fleet: Path,
    launch: Launch,
    tmp_path: Path,
    checkpoint: str,
    is_pushed: bool,
) -> None:
    """ImportExampleGen splits the records 2 : 1; the model's rows are those of its `eval`."""
    flags = ["--examples", fleet / "records", "--checkpoints", fleet / "mixed" / f"{checkpoint}.keras"]
    status = launch(*flags, "--pipeline_root", tmp_path / "root", "--push_to", tmp_path / "serving")
    assert status == (0 if is_pushed else 1)
    store = Store(tmp_path / "root")
    assert {name: store.states(name) for name in ("ImportExampleGen", "LiteFerry", "Pusher")} == {
        "ImportExampleGen": ["COMPLETE"], "LiteFerry": ["COMPLETE"], "Pusher": ["COMPLETE"]
    }  # fmt: skip
    examples = store.artifacts(store.executions()[0], "in")["examples"]
    assert store.type_of(examples) == "Examples"
    assert examples.properties["split_names"].string_value == '["train", "eval"]'
    pushed = store.artifacts(store.executions("Pusher")[0], "out")["pushed_model"]
    assert pushed.custom_properties["pushed"].int_value == int(is_pushed)
    versions = list((tmp_path / "serving").glob("*/saved_model.pb"))
    assert len(versions) == (1 if is_pushed else 0)
