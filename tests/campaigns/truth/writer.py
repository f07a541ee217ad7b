"""python -m tests.campaigns.truth.writer FOLDER: builds the cases that FOLDER/batch.json asks for, asks each live model for its
answers, and only then saves it. FOLDER/cases.json says what there is.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.truth import cases, files, plain_models

# What is no variable, so that a file of weights leaves it to the builder.
_FROM_BUILDER = ("string_lookup", "integer_lookup", "discretization", "text_vectorization", "category", "hashing")
_ODD_DATA = 77


def write(case: cases.Case, folder: Path) -> dict[str, Any]:
    """Saves one case; returns what cases.json says of it. `unsaved` holds the library's words where it cannot save the model."""
    builders = importlib.import_module("truth_builders")
    k = importlib.import_module(case.library)
    k.backend.clear_session()
    data_seed = _ODD_DATA if case.is_odd and case.fleet == "state" else 0
    made = builders.make(case.library, case.architecture, data_seed=data_seed)
    builders.answers(made)  # builds it
    if case.fleet == "statistics":
        _differ_little(made.model, case)
    else:
        _shake(made.model, np.random.default_rng(1000 + case.member + sum(case.architecture.encode())))
    answers = named(made.model, builders.answers(made))
    entry = {**dataclasses.asdict(case), "name": case.name, "group": case.group}
    try:
        path = files.save(case.library, made.model, case.file, str(folder / "files" / case.name))
    except Exception as error:  # noqa: BLE001 - whatever the library says
        return {**entry, "unsaved": f"{type(error).__name__}: {str(error)[:200]}"}
    if case.is_odd and case.fleet in _DAMAGES:
        _DAMAGES[case.fleet](path)
    _keep(folder / "rows", case, made.columns)
    _keep(folder / "expected", case, answers)
    builder: dict[str, Any] = {"library": case.library, "name": case.architecture, "change": case.change}
    builder["data_seed"] = data_seed if case.architecture.startswith(_FROM_BUILDER) else 0
    return {**entry, "path": path, "builder": builder if case.file in files.WITH_BUILDER else None}


def _keep(folder: Path, case: cases.Case, columns: dict[str, Any]) -> None:
    np.savez(folder / f"{case.name}.npz", allow_pickle=True, **columns)


def _shake(model: Any, random: np.random.Generator) -> None:
    """Every weight away from where it began, but what layers were adapted to or keep of random numbers."""
    adapted = {id(weight) for layer in _layers(model) if hasattr(layer, "adapt") for weight in layer.weights}
    for weight in model.weights:
        name = str(getattr(weight, "path", None) or getattr(weight, "name", ""))
        if id(weight) in adapted or "float" not in str(getattr(weight, "dtype", "")) or ("/" in name and "vector_u" in name):
            continue
        value = np.asarray(weight)
        if "variance" in name or "stddev" in name:
            value = random.uniform(0.5, 2.0, value.shape)
        else:
            value = value + 0.4 * random.normal(size=value.shape)
        weight.assign(value.astype(np.asarray(weight).dtype))


def _differ_little(model: Any, case: cases.Case) -> None:
    """As its siblings but for the last bias; the odd member has another moving mean, too."""
    _shake(model, np.random.default_rng(7))
    model.weights[-1].assign(np.asarray(model.weights[-1]) + 0.01 * case.member)
    for weight in model.weights:
        if case.is_odd and "moving_mean" in str(getattr(weight, "path", weight.name)):
            weight.assign(np.asarray(weight) + 1.0)


def _layers(model: Any) -> Iterator[Any]:
    yield from model._flatten_layers()


def named(model: Any, answers: Any) -> dict[str, np.ndarray]:
    """Answers by name: keys of dicts, names of output layers where they are told apart, else numbers."""
    if isinstance(answers, dict):
        flat: dict[str, Any] = {}
        for key, value in answers.items():
            flat |= {f"{key}_{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
        return {key: np.asarray(value) for key, value in flat.items()}
    listed = list(answers) if isinstance(answers, (list, tuple)) else [answers]
    return {f"output_{number}": np.asarray(value) for number, value in enumerate(listed)}


def _drop_array(path: str) -> None:
    """The file loses the bias, or what is last, of the first layer that has more than one array."""
    import h5py

    with h5py.File(path, "r+") as file:
        groups: list[Any] = []
        file.visititems(lambda _, item: groups.append(item) if isinstance(item, h5py.Group) else None)
        for group in groups:
            arrays = [key for key, item in group.items() if isinstance(item, h5py.Dataset)]
            if len(arrays) > 1 and "optimizer" not in group.name:
                _forget(file, group, sorted(arrays)[0 if "bias:0" in arrays or "bias" in arrays else -1])
                return
    raise ValueError(f"{path}: no layer with two arrays")


def _forget(file: Any, group: Any, key: str) -> None:
    path = f"{group.name}/{key}"
    del group[key]
    root = file.get("model_weights", file)
    for layer in root.values():
        if "weight_names" in layer.attrs:
            names = list(layer.attrs["weight_names"])
            text = [name if isinstance(name, str) else name.decode() for name in names]
            kept = [name for name, told in zip(names, text, strict=True) if f"{layer.name}/{told}" != path]
            layer.attrs["weight_names"] = kept


def _swap_names(path: str) -> None:
    """The first two layers with weights of one shape stand in the other order; each keeps its name and its arrays."""
    import h5py

    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        holding = [number for number, name in enumerate(names) if len(file[name].attrs["weight_names"])]
        if len(holding) < 2:
            return
        first, second = holding[:2]
        names[first], names[second] = names[second], names[first]
        file.attrs["layer_names"] = names


_DAMAGES = {"dropped": _drop_array, "swapped": _swap_names}


def _write_plain(case: cases.Case, folder: Path) -> dict[str, Any]:
    path = str(folder / "files" / case.name)
    columns, answers = plain_models.TABLE[case.architecture](path, np.random.default_rng(sum(case.architecture.encode())))
    _keep(folder / "rows", case, columns)
    _keep(folder / "expected", case, answers)
    return {**dataclasses.asdict(case), "name": case.name, "group": case.group, "path": path, "builder": None}


def main(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    batch = json.loads((folder / "batch.json").read_text())
    for name in ("files", "rows", "expected"):
        (folder / name).mkdir(exist_ok=True)
    write_one = _write_plain if batch["library"] == "tensorflow" else write
    entries = [write_one(case, folder) for case in cases.chosen(**batch)]
    (folder / "cases.json").write_text(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
