"""Finds the layer names of a Keras model that were made by counting, and the layers whose order follows from the wiring."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from liteferry.checkpoints.keras_names import snake_case
from liteferry.loading.weights.names import LayerNames


def is_keras_3(model: Any) -> bool:
    """Whether a Keras model is one of Keras 3 and not of tf_keras, whatever `import keras` means in this process."""
    import tf_keras

    return not isinstance(model, tf_keras.Model)


def of(model: Any) -> LayerNames:
    """Names of all layers of a Keras model, at any depth."""
    layers = [model, *(layer for layer in model._flatten_layers() if layer is not model)]
    counted = {}
    for layer in layers:
        base = snake_case(type(layer).__name__)
        if re.fullmatch(rf"{re.escape(base)}(_\d+)?", layer.name):
            counted[layer.name] = base
    return LayerNames(counted=counted, turns=dict(_turns(layers)))


def _turns(layers: Iterable[Any]) -> Iterator[tuple[str, tuple[str, int]]]:
    for container in layers:
        for layer, turn in turns_in(container):
            yield layer.name, (container.name, turn)


def turns_in(container: Any) -> list[tuple[Any, int]]:
    """The layers of a Sequential or Functional model, each with its depth in the wiring; layers of equal depth have no order."""
    if any(base.__name__ == "Sequential" for base in type(container).__mro__):
        return [(layer, number) for number, layer in enumerate(container.layers)]
    nodes = getattr(container, "_nodes_by_depth", None)
    if not nodes:
        return []
    depths: dict[int, tuple[Any, int]] = {}
    for depth, level in nodes.items():
        for node in level:
            layer = getattr(node, "operation", None) or getattr(node, "layer", None)
            if layer is not None and depths.get(id(layer), (None, -1))[1] < depth:
                depths[id(layer)] = (layer, int(depth))
    return list(depths.values())


def interchangeable(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str] | None:
    """Two layers that a file without names cannot distinguish: of one class and of equal shapes, with no order between them.

    Args:
      model: a Keras model.
      shapes: of its arrays by their places in the new layout, where a list of layers names its layers by class and number.
    """
    below: dict[str, dict[str, list[Any]]] = {}
    for place, shape in shapes.items():
        for found in re.finditer(r"(?:^|(?<=/))layers/([^/]+)/", place):
            holder = place[: found.start()].rstrip("/")
            below.setdefault(holder, {}).setdefault(found[1], []).append((place[found.end() :], shape))
    for holder, layers in below.items():
        seen: dict[Any, str] = {}
        for own, arrays in layers.items():
            layer, turn = _at(model, holder, own)
            key = (re.sub(r"_\d+$", "", own), repr(sorted(arrays)), turn)
            if key in seen:
                return seen[key], str(getattr(layer, "name", own))
            seen[key] = str(getattr(layer, "name", own))
    return None


def _at(model: Any, holder: str, own: str) -> tuple[Any, int | None]:
    """The layer that a list of layers calls `own`, and its turn; None for what does not follow from wiring."""
    container = _follow(model, holder)
    found = _numbered(container).get(own)
    turns = {id(layer): turn for layer, turn in turns_in(container)} if container is not None else {}
    return found, turns.get(id(found))


def _follow(model: Any, place: str) -> Any:
    parts = place.split("/") if place else []
    here = model
    while parts and here is not None:
        if parts[0] == "layers" and len(parts) > 1:
            here = _numbered(here).get(parts[1])
            parts = parts[2:]
        else:
            here = getattr(here, parts.pop(0), None)
    return here


def _numbered(container: Any) -> dict[str, Any]:
    """The layers of a container by class and number."""
    counts: collections.Counter[str] = collections.Counter()
    found = {}
    for layer in getattr(container, "layers", ()):
        base = snake_case(type(layer).__name__)
        found[f"{base}_{counts[base]}" if counts[base] else base] = layer
        counts[base] += 1
    return found
