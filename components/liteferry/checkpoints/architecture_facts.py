"""Facts of an architecture about training and inputs: augmentation and preprocessing settings, the expected range of values.

Read from the config; builds nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from liteferry.checkpoints.config_scan import serialized_objects

# Layers that prepare inputs, in either library. Together with the random layers they show how the model was fed in training.
_PREPROCESSING = frozenset(
    {
        "AutoContrast",
        "CategoryEncoding",
        "CenterCrop",
        "ContrastLimitedAdaptiveHistogramEqualization",
        "Discretization",
        "Equalization",
        "HashedCrossing",
        "Hashing",
        "IntegerLookup",
        "MelSpectrogram",
        "Normalization",
        "RandomCrop",
        "RandomHeight",
        "RandomWidth",
        "Rescaling",
        "Resizing",
        "STFTSpectrogram",
        "Solarization",
        "StringLookup",
        "TextVectorization",
    }
)
STRIPPABLE = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "AugMix",
        "CutMix",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "MixUp",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    }
)
# Layers that do not change the range of pixel values, so the next layer gets the input's range.
_RANGE_KEEPING = STRIPPABLE | {
    "InputLayer",
    "Resizing",
    "CenterCrop",
    "RandomCrop",
    "RandomHeight",
    "RandomWidth",
    "Reshape",
    "LiteFerryIdentity",
}
# Mean and variance of a Normalization layer, flat.
Statistics: TypeAlias = tuple[list[float], list[float]]
_LARGER = 4.0  # rows this many times larger than expected get a warning about their scale
_SMALLER = 8.0  # likewise for smaller rows; the factor is larger because dark pictures are common


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputRange:
    """The values a model expects of an input: `low` to `high`, since the layer `because` maps that range to its own scale."""

    low: float
    high: float
    because: str


def training_layers(config: Any) -> list[dict[str, Any]]:
    """Name, class and settings of every augmentation and preprocessing layer at any depth, so that training can be reproduced."""
    found = []
    for node in serialized_objects(config):
        class_name = str(node["class_name"]).split(">")[-1]
        inner = node.get("config")
        if class_name in STRIPPABLE | _PREPROCESSING and isinstance(inner, dict):
            found.append({"name": inner.get("name"), "class_name": class_name, "config": inner})
    return sorted(found, key=lambda layer: (str(layer["name"]), layer["class_name"]))


def input_range(config: Any, statistics: Mapping[str, Statistics] = MappingProxyType({})) -> dict[str, InputRange]:
    """Input name -> the values it expects, for inputs whose first layer is a Rescaling or Normalization.

    A Rescaling to [0, 1] or [-1, 1] shows the range it was fed; a Normalization with its statistics in the config gives mean and
    spread, taken as four standard deviations to each side. Other inputs are left out.

    Args:
      config: an architecture.
      statistics: those of adapted Normalization layers by layer name, which are stored with the weights and not in the config.
    """
    found: dict[str, InputRange] = {}
    for name, layer in _first_scaling_layers(config):
        expected = _expected(layer, statistics)
        if expected is not None:
            found.setdefault(name, expected)
    return found


def _expected(layer: Mapping[str, Any], statistics: Mapping[str, Statistics]) -> InputRange | None:
    inner = layer["config"]
    name, class_name = inner.get("name", "unnamed"), str(layer["class_name"]).split(">")[-1]
    if class_name == "Rescaling":
        scale, offset = inner.get("scale"), inner.get("offset", 0.0)
        if not isinstance(scale, int | float) or not isinstance(offset, int | float) or scale <= 0:
            return None
        low_out = -1.0 if offset <= -0.5 else 0.0
        low, high = (low_out - offset) / scale, (1.0 - offset) / scale
        because = f"{name} (Rescaling by {scale:g}, offset {offset:g}) maps them to {low_out:g} .. 1"
        return InputRange(low=round(low, 6) + 0.0, high=round(high, 6), because=because)
    mean, variance = _numbers(inner.get("mean")), _numbers(inner.get("variance"))
    if not mean and not variance:
        mean, variance = statistics.get(str(name), ([], []))
    if not mean or not variance or len(mean) != len(variance) or inner.get("invert"):
        return None
    spreads = [max(value, 0.0) ** 0.5 for value in variance]
    low = min(middle - 4 * spread for middle, spread in zip(mean, spreads, strict=True))
    high = max(middle + 4 * spread for middle, spread in zip(mean, spreads, strict=True))
    if not all(map(math.isfinite, (low, high))):
        return None
    return InputRange(
        low=low, high=high, because=f"{name} (Normalization) was given mean {_short(mean)} and variance {_short(variance)}"
    )


def _numbers(value: Any) -> list[float]:
    """The numbers in a nested list, or a single number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)]
    if isinstance(value, dict):  # a serialized array
        value = value.get("config", {}).get("value") if isinstance(value.get("config"), dict) else None
    if not isinstance(value, list):
        return []
    return [number for item in value for number in _numbers(item)]


def _short(values: list[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:3])
    return f"{shown}, ..." if len(values) > 3 else shown


def _first_scaling_layers(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(input name, the first layer that scales it), over Sequential and Functional models and the models nested in them."""
    inner = config.get("config") if isinstance(config, dict) else None
    if not isinstance(inner, dict | list):
        return
    layers = inner if isinstance(inner, list) else inner.get("layers")
    if not isinstance(layers, list):
        return
    nodes = [node for node in layers if isinstance(node, dict) and isinstance(node.get("config"), dict | list)]
    feeds = _feeds(nodes)
    is_sequential = not any(node.get("inbound_nodes") for node in nodes)
    if is_sequential:
        scaling = _first_in_line(nodes)
        if scaling is not None:
            yield _sequential_input(nodes), scaling
        return
    for node in nodes:
        if str(node["class_name"]) == "InputLayer":
            name = str(node["config"].get("name"))
            for scaling in _following(name, feeds):
                yield name, scaling


def _sequential_input(nodes: list[dict[str, Any]]) -> str:
    """The input's name, as both libraries form it: the InputLayer's own name, in older files the first layer's with `_input`."""
    first = nodes[0]
    inner = first["config"]
    name = str(inner.get("name", "")) if isinstance(inner, dict) else ""
    return name if first["class_name"] == "InputLayer" else f"{name}_input"


def _first_in_line(nodes: list[dict[str, Any]]) -> Mapping[str, Any] | None:
    for node in nodes:
        class_name = str(node["class_name"]).split(">")[-1]
        if class_name in ("Rescaling", "Normalization"):
            return node
        nested = list(_first_scaling_layers(node))
        if nested:
            return nested[0][1]
        if class_name not in _RANGE_KEEPING and not _only_keeps_range(node):
            return None
    return None


def _only_keeps_range(node: Mapping[str, Any]) -> bool:
    """Whether a nested model consists of augmentation layers only."""
    inner = node.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(layers, list) or not layers:
        return False
    return all(str(layer.get("class_name")).split(">")[-1] in _RANGE_KEEPING or _only_keeps_range(layer) for layer in layers)


def _feeds(nodes: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Layer name -> the layers that take its output."""
    feeds: dict[str, list[dict[str, Any]]] = {}
    names = {_layer_name(node) for node in nodes}
    for node in nodes:
        for source in dict.fromkeys(_mentioned(node.get("inbound_nodes"), names)):
            feeds.setdefault(source, []).append(node)
    return feeds


def _layer_name(node: Mapping[str, Any]) -> str:
    inner = node["config"]
    return str(node.get("name") or (inner.get("name") if isinstance(inner, dict) else ""))


def _mentioned(inbound: Any, names: set[str]) -> Iterator[str]:
    """Layer names in `inbound_nodes` of either library: [name, node, tensor, ...] lists, or `keras_history` of a tensor."""
    pending = [inbound]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            if len(item) >= 3 and isinstance(item[0], str) and item[0] in names:
                yield item[0]
            pending.extend(item)


def _following(name: str, feeds: Mapping[str, list[dict[str, Any]]]) -> Iterator[Mapping[str, Any]]:
    pending, seen = [name], {name}
    while pending:
        for node in feeds.get(pending.pop(), ()):
            class_name, own = str(node["class_name"]).split(">")[-1], _layer_name(node)
            if class_name in ("Rescaling", "Normalization"):
                yield node
            else:
                yield from (scaling for _, scaling in list(_first_scaling_layers(node))[:1])
            if (class_name in _RANGE_KEEPING or _only_keeps_range(node)) and own not in seen:
                seen.add(own)
                pending.append(own)


def range_warning(name: str, expected: InputRange, *, low: float, high: float) -> str | None:
    """A sentence when sample rows do not fit the range a model expects of an input; None when they do.

    Args:
      name: of the input.
      expected: by the model.
      low, high: the smallest and the largest value among the rows.
    """
    wanted, spread = expected.high - expected.low, high - low
    reach, largest = max(abs(expected.low), abs(expected.high)), max(abs(low), abs(high))
    if not spread or not wanted:
        return None
    told = f"input {name!r}: {expected.because}, so it expects values of {expected.low:g} .. {expected.high:g}"
    if spread * _SMALLER < wanted and largest * _SMALLER < reach:
        return f"{told}; the sample rows have {low:g} .. {high:g}, as if they were normalised already. Feed it raw values"
    if spread > _LARGER * wanted or largest > _LARGER * reach:
        return f"{told}; the sample rows have {low:g} .. {high:g}, another scale. Prepare them as in training"
    return None


# Keras's own layers that do nothing at inference, or should: the only ones of its own that `strip` removes.
