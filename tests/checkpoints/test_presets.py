"""A KerasHub preset of a task is put together as the archive of that task. tests/packages has presets by the real writer."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from liteferry.checkpoints import Kind, look
from liteferry.errors import ModelError, ReasonCode

BACKBONE = {
    "module": "keras_hub.src.models.x",
    "class_name": "TinyNetBackbone",
    "config": {},
    "registered_name": "keras_hub>TinyNetBackbone",
}
TASK = {
    "module": "keras_hub.src.models.x",
    "class_name": "TinyNetImageClassifier",
    "config": {
        "backbone": BACKBONE,
        "preprocessor": {"class_name": "Preprocessor", "config": {"tokenizer": {}}},
        "num_classes": 2,
    },
    "registered_name": "keras_hub>TinyNetImageClassifier",
}


def write(path: Path, **arrays: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """As `task.save_to_preset` writes it."""
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BACKBONE))
    (folder / "task.json").write_text(json.dumps(TASK))
    (folder / "preprocessor.json").write_text("{}")
    (folder / "metadata.json").write_text(json.dumps({"keras_version": "3.15.1", "keras_hub_version": "0.32.0"}))
    write(folder / "model.weights.h5", layers__conv2d__vars__0=np.ones((3, 3)))
    write(folder / "task.weights.h5", layers__dense__vars__0=np.full((3, 2), 2.0))
    return folder


def arrays(archive: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    assert archive is not None
    with zipfile.ZipFile(archive) as zipped, zipped.open("model.weights.h5") as stream, h5py.File(stream, "r") as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def test_head_and_backbone_lie_where_an_archive_of_the_task_has_them(preset: Path) -> None:
    facts = look(str(preset))
    assert (facts.kind, facts.keras_version) == (Kind.KERAS, "3.15.1")
    assert facts.config is not None
    assert (facts.config["class_name"], facts.config["config"]["preprocessor"]) == ("TinyNetImageClassifier", None)
    found = arrays(facts.path)
    assert sorted(found) == ["layers/dense/vars/0", "layers/tiny_net_backbone/layers/conv2d/vars/0"]
    assert found["layers/dense/vars/0"].max() == 2.0


def test_without_a_task_it_is_the_backbone(preset: Path) -> None:
    (preset / "task.json").unlink()
    facts = look(str(preset))
    assert facts.config is not None
    assert facts.config["class_name"] == "TinyNetBackbone"
    assert sorted(arrays(facts.path)) == ["layers/conv2d/vars/0"]


def test_weights_of_the_backbone_may_be_sharded(preset: Path) -> None:
    (preset / "model.weights.h5").rename(preset / "model_00000.weights.h5")
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": {"/layers/conv2d/vars": "model_00000.weights.h5"}}))
    assert "layers/tiny_net_backbone/layers/conv2d/vars/0" in arrays(look(str(preset)).path)


def test_an_array_that_both_files_hold_is_refused(preset: Path) -> None:
    write(preset / "task.weights.h5", layers__tiny_net_backbone__layers__conv2d__vars__0=np.zeros((3, 3)))
    with pytest.raises(ModelError, match=r"hold the array .* twice"):
        look(str(preset))


@pytest.mark.parametrize("task", ["[]", '{"config": {}}', '{"config": {"backbone": []}}'])
def test_a_task_without_a_backbone_is_told(preset: Path, task: str) -> None:
    (preset / "task.json").write_text(task)
    with pytest.raises(ModelError, match=r"whose task\.json names no backbone") as caught:
        look(str(preset))
    assert caught.value.reason.code is ReasonCode.LOAD_UNSUPPORTED


def test_a_tokenizer_alone_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"that prepares inputs \(tokenizer.json\); name the preset of the model"):
        look(str(tmp_path))
