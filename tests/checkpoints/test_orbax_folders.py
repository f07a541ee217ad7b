"""An Orbax step of Keras is put together as one file with every variable under its path. tests/packages has folders that Keras's
own callback writes; here TensorStore writes the same layout.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorstore

from liteferry.checkpoints import Kind, look
from liteferry.errors import ModelError, ReasonCode

CONFIG = {"class_name": "Functional", "module": "keras.src.models.functional", "config": {"name": "m", "layers": []}}
VARIABLES: dict[tuple[str, ...], Any] = {
    ("trainable_variables", "hidden", "kernel"): np.arange(6, dtype=np.float32).reshape(2, 3),
    ("non_trainable_variables", "norm", "count"): np.array(7),
    ("non_trainable_variables", "seed_generator", "seed_generator_state"): np.array([1, 2], np.uint32),
    ("optimizer_variables", "adam", "iteration"): np.array(3),
}
MODEL = {"trainable_variables/hidden/kernel", "non_trainable_variables/norm/count"}


def write_tree(tree: Path, variables: dict[tuple[str, ...], Any], *, is_one_store: bool = True, version: str = "zarr3") -> None:
    told: dict[str, Any] = {}
    for keys, values in variables.items():
        base = {"driver": "file", "path": f"{tree}/"}
        name = f"{'.'.join(keys)}/"
        place = {"driver": "ocdbt", "base": base, "path": name} if is_one_store else {"driver": "file", "path": f"{tree}/{name}"}
        spec = {"driver": version, "kvstore": place}
        store = tensorstore.open(spec, create=True, dtype=values.dtype, shape=values.shape).result()
        store.write(values).result()
        told[str(keys)] = {"key_metadata": [{"key": key, "key_type": 2} for key in keys], "value_metadata": {}}
    empty = {"key_metadata": [{"key": "non_trainable_variables", "key_type": 2}], "value_metadata": {"value_type": "Dict"}}
    told["('non_trainable_variables',)"] = empty
    facts = {"tree_metadata": told, "use_ocdbt": is_one_store, "use_zarr3": version == "zarr3"}
    (tree / "_METADATA").write_text(json.dumps(facts))


@pytest.fixture
def step(tmp_path: Path) -> Path:
    (tmp_path / "3" / "pytree").mkdir(parents=True)
    (tmp_path / "3" / "_CHECKPOINT_METADATA").write_text("{}")
    write_tree(tmp_path / "3" / "pytree", VARIABLES)
    return tmp_path / "3"


def with_architecture(step: Path, name: str = "_strings.json") -> Path:
    (step / "model_config").mkdir()
    (step / "model_config" / name).write_text(json.dumps({"config": json.dumps(CONFIG)}))
    return step


def arrays(source: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(source, "r") as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.mark.parametrize("name", ["_strings.json", "data.json", "metadata"])
def test_a_whole_model_is_an_archive(step: Path, name: str) -> None:
    facts = look(str(with_architecture(step, name)))
    assert (facts.kind, facts.weights_layout, facts.config) == (Kind.KERAS, "by_path", CONFIG)
    assert not facts.written_before_keras_3()
    assert facts.path is not None
    with zipfile.ZipFile(facts.path) as archive, archive.open("model.weights.h5") as stream:
        found = arrays(stream)
    assert set(found) == MODEL, "neither what training keeps nor random state"
    np.testing.assert_array_equal(
        found["trainable_variables/hidden/kernel"], VARIABLES["trainable_variables", "hidden", "kernel"]
    )


@pytest.mark.parametrize(("is_one_store", "version"), [(True, "zarr"), (False, "zarr"), (False, "zarr3")])
def test_weights_alone_need_a_builder_in_every_layout_of_orbax(tmp_path: Path, is_one_store: bool, version: str) -> None:
    (tmp_path / "pytree").mkdir()
    write_tree(tmp_path / "pytree", VARIABLES, is_one_store=is_one_store, version=version)
    facts = look(str(tmp_path))
    assert (facts.kind, facts.weights_layout, facts.config) == (Kind.H5_WEIGHTS, "by_path", None)
    assert set(arrays(facts.path)) == MODEL


def refused(step: Path) -> tuple[ReasonCode, str]:
    with pytest.raises(ModelError) as caught:
        look(str(step))
    return caught.value.reason.code, caught.value.reason.message


def test_vocabularies_have_no_place_there(step: Path) -> None:
    (with_architecture(step) / "assets").mkdir()
    code, message = refused(step)
    assert code is ReasonCode.LOAD_UNSUPPORTED
    assert "keras.models.load_model(FOLDER)" in message


def test_a_tree_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "pytree").mkdir()
    write_tree(tmp_path / "pytree", {("params", "w"): np.zeros(2)})
    code, message = refused(tmp_path)
    assert code is ReasonCode.LOAD_UNSUPPORTED
    assert "of something else than a Keras model (params)" in message


def test_without_tensorstore_the_extra_is_named(step: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    code, message = refused(with_architecture(step))
    assert code is ReasonCode.LOAD_UNSUPPORTED
    assert "pip install 'liteferry[orbax]'" in message


def test_a_damaged_store_is_corrupt(step: Path) -> None:
    (with_architecture(step) / "pytree" / "manifest.ocdbt").write_bytes(b"nothing")
    assert refused(step)[0] is ReasonCode.LOAD_CORRUPT


def test_a_link_out_of_the_folder_is_not_followed(step: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (step / "pytree" / "extra").symlink_to(tmp_path / "secret")
    assert refused(with_architecture(step))[0] is ReasonCode.LOAD_UNSAFE


def test_an_array_by_a_name_that_leads_out_is_corrupt(step: Path) -> None:
    place = step / "pytree" / "_METADATA"
    place.write_text(place.read_text().replace('"kernel"', '"../../kernel"'))
    assert refused(with_architecture(step))[0] is ReasonCode.LOAD_CORRUPT
