"""Writes the cases of `test_weights`: checkpoints by the real library, with the live model's answers taken before it was saved.

`python weights_cases.py keras OUT`: a folder for each case with `case.json`, `rows.npz`, `expected.npz`.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

NETS = str(Path(__file__).with_name("weights_nets.py"))
RIGHT, REFUSED, FAILED = "right", "WEIGHTS_MISMATCH", "LOAD_FAILED"
LAYOUTS = ("legacy", "new", "objects")
# case -> trained with, built with, what must come of it in each layout: legacy HDF5, .weights.h5, tf.train.Checkpoint.
# Keyed by library where the two differ: tf_keras writes no names into .weights.h5.
TABLE: dict[str, tuple[str, dict[str, Any], dict[str, Any], Any]] = {
    "same_builder": ("chain", {}, {}, RIGHT),
    "swapped_heads": ("heads", {}, {"reordered": True}, {"tf_keras new": REFUSED, "": RIGHT}),
    "heads_as_trained": ("heads", {}, {}, {"tf_keras new": REFUSED, "": RIGHT}),
    "heads_renamed": ("heads", {}, {"names": ["mu", "sigma"]}, REFUSED),
    "heads_renamed_by_position": ("heads", {}, {"names": ["mu", "sigma"]}, RIGHT),
    "a_layer_too_few": ("chain", {"layers": 3}, {"layers": 2}, REFUSED),
    "a_layer_too_few_by_position": (
        "chain",
        {"layers": 3},
        {"layers": 2},
        {"keras legacy": FAILED, "tf_keras legacy": FAILED, "": REFUSED},
    ),
    "a_layer_too_many": ("chain", {"layers": 2}, {"layers": 3}, REFUSED),
    "other_sizes": ("chain", {}, {"units": 5}, REFUSED),
    "chain_counted_later": ("chain", {"names": None, "before": 5}, {"names": None}, RIGHT),
    "chain_renamed": ("chain", {}, {"names": "layer{}"}, {"tf_keras new": RIGHT, "": REFUSED}),
    "heads_counted_alike": ("counted_heads", {}, {}, {"tf_keras new": REFUSED, "": RIGHT}),
    "heads_counted_later": ("counted_heads", {"before": 3}, {}, REFUSED),
    "heads_counted_later_and_swapped": ("counted_heads", {"before": 3}, {"reordered": True}, REFUSED),
    "renamed_but_only_one_fits": ("funnel", {}, {"first": "broad", "before": 2}, RIGHT),
    "frozen_when_saved": ("transfer", {"freeze": True}, {}, RIGHT),
    "frozen_when_built": ("transfer", {}, {"freeze": True}, RIGHT),
    # Keras 3 writes nothing of layers in plain lists into TensorFlow's checkpoints: a list of cells, for one.
    "wrapped_and_recurrent": ("wrapped", {}, {}, {"keras objects": REFUSED, "": RIGHT}),
    "attributes_and_lists": ("subclassed", {}, {}, {"keras objects": REFUSED, "": RIGHT}),
    "blocks_of_the_users": ("blocks", {}, {}, RIGHT),
    "remembers_from_call_to_call": ("stateful", {}, {}, RIGHT),
    "no_variables_at_all": ("reshaping", {}, {}, RIGHT),
    "variables_for_a_model_without": ("reshaping", {"dense": True}, {}, REFUSED),
    "variables_for_a_model_without_by_position": (
        "reshaping",
        {"dense": True},
        {},
        {"keras legacy": FAILED, "tf_keras legacy": FAILED, "": REFUSED},
    ),
}


def expectation(case: str, library: str) -> str:
    """What must come of a case, `swapped_heads-legacy` for one."""
    name, _, layout = case.rpartition("-")
    if name in DAMAGES or name in OBJECTS:
        return DAMAGES[name][3] if name in DAMAGES else OBJECTS[name][1]
    wanted = TABLE[name][3]
    return str(wanted if isinstance(wanted, str) else wanted.get(f"{library} {layout}", wanted[""]))


def names() -> list[str]:
    """Every case, the same for both libraries, `swapped_heads-legacy` for one."""
    return (
        [f"{name}-{layout}" for name in TABLE for layout in LAYOUTS]
        + [f"{name}-damaged" for name in DAMAGES]
        + [f"{name}-objects" for name in OBJECTS]
    )


def shaken(model: Any, seed: int) -> Any:
    """Every weight random: none at its initial value, statistics included."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            value = random.normal(scale=0.5, size=tuple(weight.shape))
            weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
    return model


def save(model: Any, library: str, layout: str, folder: Path) -> str:
    """Writes a model's weights; returns the file's name."""
    if layout == "new":
        model.save_weights(str(folder / "model.weights.h5"))
        return "model.weights.h5"
    if layout == "legacy":
        if library == "tf_keras":
            model.save_weights(str(folder / "model.h5"))
        else:
            import h5py
            from keras.src.legacy.saving import legacy_h5_format

            with h5py.File(folder / "model.h5", "w") as file:
                legacy_h5_format.save_weights_to_hdf5_group(file, model)
        return "model.h5"
    import tensorflow as tf

    tf.train.Checkpoint(model=model, step=tf.Variable(3)).write(str(folder / "model"))
    return "model.index"


def _drop_an_array(file: Any) -> None:
    names = [name.decode() if isinstance(name, bytes) else name for name in file["h1"].attrs["weight_names"]]
    file["h1"].attrs["weight_names"] = [name.encode() for name in names if "bias" not in name]


def _add_an_array(file: Any) -> None:
    file["layers/dense_7/vars/0"] = np.ones((4, 4), np.float32)


def _remove_an_array(file: Any) -> None:
    del file["layers/dense_1/vars/1"]


def _count_from_one(file: Any) -> None:
    """As Keras 2.0 to 2.3 did: its first Dense was dense_1."""
    for name, older in (("dense_1", "dense_2"), ("dense", "dense_1")):
        arrays = [own.decode() if isinstance(own, bytes) else own for own in file[name].attrs["weight_names"]]
        file.move(name, older)
        file[older].move(name, older)
        file[older].attrs["weight_names"] = [own.replace(f"{name}/", f"{older}/").encode() for own in arrays]
    file.attrs["layer_names"] = [b"x", b"dense_1", b"dense_2"]
    file.attrs["keras_version"] = b"2.2.4"


# case -> the net, its layout, what is done to the file, what must come of it
DAMAGES: dict[str, tuple[str, str, Any, str]] = {
    "counted_from_one": ("counted_heads", "legacy", _count_from_one, RIGHT),
    "an_array_dropped": ("chain", "legacy", _drop_an_array, REFUSED),
    "an_array_added": ("chain", "new", _add_an_array, REFUSED),
    "an_array_removed": ("chain", "new", _remove_an_array, REFUSED),
}


def _trained(model: Any, folder: Path, others: dict[str, Any]) -> str:
    import tensorflow as tf

    model.compile("adam", "mse")
    model.fit(np.ones((4, 4), np.float32), np.ones((4, 4), np.float32), verbose=0)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer, **others).write(str(folder / "model"))
    return "model.index"


def _with_optimizer(model: Any, _: Any, folder: Path) -> str:
    return _trained(model, folder, {})


def _beside_another(model: Any, make: Callable[..., Any], folder: Path) -> str:
    return _trained(model, folder, {"critic": make(layers=1)})


def _beside_its_average(model: Any, make: Callable[..., Any], folder: Path) -> str:
    return _trained(model, folder, {"average": make()})


def _by_saver(model: Any, _: Any, folder: Path) -> str:
    """TensorFlow 1's Saver with an optimizer's slots; arrays under the variables' names and nothing else."""
    import tensorflow as tf

    names, tensors = [], []
    for weight in model.weights:
        name = str(getattr(weight, "path", weight.name)).split(":")[0]
        for slot in ("", "/Adam", "/Adam_1"):
            names.append(name + slot)
            tensors.append(tf.constant(np.asarray(weight) + len(slot)))
    tensors += [tf.constant(3, tf.int64), tf.constant(0.9)]
    prefix, flat = str(folder / "model"), [*names, "global_step", "beta1_power"]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=flat, shape_and_slices=[""] * len(flat), tensors=tensors)
    return "model.index"


# case -> what writes the checkpoint of a trained `chain`, what must come of it
OBJECTS: dict[str, tuple[Any, str]] = {
    "with_an_optimizer": (_with_optimizer, RIGHT),
    "beside_another_model": (_beside_another, RIGHT),
    "beside_its_average": (_beside_its_average, REFUSED),
    "by_names_with_slots": (_by_saver, RIGHT),
}


def _cases(library: str) -> Iterator[tuple[str, Any, str, dict[str, Any], Any]]:
    """(case, trained model, layout, builder's reference and arguments, damage)"""
    nets = importlib.import_module("weights_nets")
    for number, (name, (net, trained, built, _)) in enumerate(TABLE.items()):
        _count_anew(library)
        model = shaken(getattr(nets, net)(library, **trained), number)
        spec = {"builder": f"weights_nets:{net}", "builder_args": {"library": library, **built}}
        spec |= {"weights": "by_position"} if name.endswith("by_position") else {}
        for layout in LAYOUTS:
            yield f"{name}-{layout}", model, layout, spec, None
    for name, (net, layout, damage, _) in DAMAGES.items():
        _count_anew(library)
        model = shaken(getattr(nets, net)(library), 90)
        spec = {"builder": f"weights_nets:{net}", "builder_args": {"library": library}}
        yield f"{name}-damaged", model, layout, spec, damage


def _count_anew(library: str) -> None:
    """Names are counted as in a process of its own."""
    importlib.import_module(library).backend.clear_session()


def _write_objects(library: str, out: Path) -> None:
    nets = importlib.import_module("weights_nets")
    make = functools.partial(nets.chain, library)
    spec = {"builder": "weights_nets:chain", "builder_args": {"library": library}}
    for number, (name, (write, _)) in enumerate(OBJECTS.items()):
        folder = out / library / f"{name}-objects"
        folder.mkdir(parents=True)
        model = shaken(make(), 50 + number)
        file = write(model, make, folder)
        _finish(folder, model, file, spec)


def main(library: str, out: Path) -> None:
    """Writes all cases of one library."""
    import h5py

    sys.path.insert(0, str(Path(NETS).parent))
    importlib.import_module(library)
    _write_objects(library, out)
    for name, model, layout, spec, damage in _cases(library):
        folder = out / library / name
        folder.mkdir(parents=True)
        file = save(model, library, layout, folder)
        if damage is not None:
            with h5py.File(folder / file, "r+") as opened:
                damage(opened)
        _finish(folder, model, file, spec)


def _finish(folder: Path, model: Any, file: str, case: dict[str, Any]) -> None:
    shape = (None, 4) if not getattr(model, "inputs", None) else model.inputs[0].shape
    rows = np.random.default_rng(7).normal(size=(8, *shape[1:])).astype(np.float32)
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            (layer.reset_states if hasattr(layer, "reset_states") else layer.reset_state)()
    answers = model(rows, training=False)
    answers = answers if isinstance(answers, list | tuple) else [answers]
    outputs = getattr(model, "output_names", None) or ["output_0"]
    np.savez(folder / "rows.npz", x=rows)
    np.savez(folder / "expected.npz", **dict(zip(outputs, map(np.asarray, answers), strict=True)))
    (folder / "case.json").write_text(json.dumps({"checkpoint": file, "modules": [NETS], **case}, indent=2))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
