"""Weights whose arrays have the paths of their variables: what an Orbax folder of Keras is put together as."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.loading import layer_names
from liteferry.loading.weights.mismatch import mismatch, shape_of
from liteferry.loading.weights.names import NoMatchError, Slot, match


def fill(path: str, place: str, facts: CheckpointFacts, model: Any) -> tuple[str, ...]:
    """Fills a Keras model's variables by their paths.

    Args:
      path: as errors name the checkpoint. place: the file that it was put together as.
      model: with its variables.

    Returns:
      What was matched without a name, as sentences.

    Raises:
      ModelError: WEIGHTS_MISMATCH where arrays are left over, variables are not filled, or paths do not decide.
    """
    with _opened(place, facts) as file:
        arrays = dict(_stored(file))
        plain = _without_containers(model, list(arrays), list(map(_path, model.weights)))
        theirs = [Slot(name=plain.get(name, name), shape=shape_of(array)) for name, array in arrays.items()]
        ours = [Slot(name=plain.get(_path(weight), _path(weight)), shape=shape_of(weight)) for weight in model.weights]
        try:
            matching = match(theirs, ours, layer_names.of(model))
        except NoMatchError as error:
            raise mismatch(path, theirs, ours, error.why) from error
        datasets = list(arrays.values())
        for variable, at in zip(model.weights, matching.places, strict=True):
            variable.assign(np.asarray(datasets[at]))
    return matching.notes


def _without_containers(model: Any, *sides: Sequence[str]) -> dict[str, str]:
    """Each path without the names of the models inside the model: whether a path has them depends on when a layer was built, and
    a model that is loaded is built in another order. Empty where two paths of one side would become one.
    """
    containers = {layer.name for layer in [model, *model._flatten_layers()] if getattr(layer, "layers", None)}
    shortened = [{path: _shortened(path, containers) for path in paths} for paths in sides]
    if any(len(set(found.values())) < len(found) for found in shortened):
        return {}
    return {path: short for found in shortened for path, short in found.items()}


def _shortened(path: str, containers: Collection[str]) -> str:
    *scopes, layer, own = ["", *path.split("/")]
    return "/".join([*(scope for scope in scopes if scope and scope not in containers), *filter(None, [layer]), own])


def _path(weight: Any) -> str:
    return str(getattr(weight, "path", None) or weight.name).split(":")[0]


def _stored(file: Any) -> Iterator[tuple[str, Any]]:
    import h5py

    found: list[tuple[str, Any]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name.partition("/")[2], item))  # without the name of the part, trainable or not

    file.visititems(visit)
    return iter(found)


@contextlib.contextmanager
def _opened(place: str, facts: CheckpointFacts) -> Iterator[Any]:
    import h5py

    if facts.kind is not Kind.KERAS:
        with h5py.File(place, "r") as file:
            yield file
        return
    with zipfile.ZipFile(place) as archive, archive.open("model.weights.h5") as stream, h5py.File(stream, "r") as file:
        yield file
