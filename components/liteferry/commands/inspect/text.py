"""The facts of `inspect` as text: one fact per line, the most important first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry.report.formats import human_bytes, single_line

_WIDTH = 14
_SHOWN = 12
_ANY_LENGTH = 100_000  # a truncated command would not work
_LOADERS = {
    "keras": "Keras 3",
    "tf_keras": "tf_keras (Keras 2), which wrote it",
    "tensorflow": "TensorFlow, as a graph",
    "builder": "your builder, then its weights",
}


def as_text(facts: Mapping[str, Any]) -> str:
    """Lines of `label  value`. Text from the artifact cannot break out of its line: control characters are replaced."""
    lines = [single_line(str(facts["artifact"]))]
    for label, value in _rows(facts):
        lines.append(f"  {label:<{_WIDTH}}{single_line(value)}")
    first, _, note = str(facts["next_step"]).partition("\n")
    lines += ["", f"Next: {single_line(first, limit=_ANY_LENGTH)}", *([f"      {single_line(note)}"] if note else [])]
    return "\n".join(lines)


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    inside = f", of {facts['inside']} inside" if facts.get("inside") else ""
    yield "kind", f"{facts['kind']}{inside} ({human_bytes(facts['bytes'])})"
    if facts.get("keras_version"):
        yield "written by", f"Keras {facts['keras_version']}"
    if facts.get("tensorflow_version"):
        yield "written by", f"TensorFlow {facts['tensorflow_version']}"
    if facts.get("loaded_by"):
        yield "loaded by", _LOADERS[facts["loaded_by"]]
    if facts.get("architecture_digest"):
        yield "architecture", facts["architecture_digest"]
    yield from _model(facts)
    yield from _tensors(facts)
    for graph in facts.get("graphs", ()):
        yield from _graph(graph)
    yield from _weights(facts)
    yield from _tflite(facts)
    yield from _needs(facts)


def _model(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model = facts.get("model")
    if not model:
        return
    name = f" {model['name']!r}" if model["name"] else ""
    yield "model", f"{model['class_name']}{name}"
    if model["layers"]:
        yield "layers", _listed([f"{count} {kind}" for kind, count in model["layers"].items()])


def _tensors(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for side in ("inputs", "outputs"):
        for tensor in (facts.get(side) or ())[:_SHOWN]:
            position = f", position {tensor['position']}" if "position" in tensor else ""
            scale = f", scale {tensor['scale']:g}, zero point {tensor['zero_point']}" if tensor.get("scale") else ""
            yield side.removesuffix("s"), f"{_tensor(tensor)}{position}{scale}"
    for name, expected in (facts.get("input_ranges") or {}).items():
        yield "expects", f"{name}: {expected['low']:g} .. {expected['high']:g}, because {expected['because']}"


def _tensor(tensor: Mapping[str, Any]) -> str:
    name = tensor["name"] or "(no name)"
    if tensor["shape"] is None and tensor["dtype"] is None:
        return str(name)
    shape = "of any shape" if tensor["shape"] is None else str([("?" if dim is None else dim) for dim in tensor["shape"]])
    return f"{name}  {tensor['dtype'] or 'dtype unknown'} {shape}".replace("'", "")


def _graph(graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "graph", f"tags {', '.join(graph['tags']) or 'none'}; {graph['operations']:,} operations"
    for name, signature in graph["signatures"].items():
        sides = [", ".join(map(_tensor, signature[side][:_SHOWN])) or "nothing" for side in ("inputs", "outputs")]
        yield "signature", f"{name}: {sides[0]} -> {sides[1]}"
    if graph["assets"]:
        yield "assets", _listed(graph["assets"])


def _weights(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    weights = facts.get("weights")
    if not weights:
        return
    dtypes = ", ".join(f"{dtype} {count:,}" for dtype, count in weights["dtypes"].items())
    counted = f"{weights['elements']:,} numbers" + (f" ({dtypes})" if dtypes else "")
    if "arrays" in weights:
        counted += f" in {weights['arrays']:,} arrays, {human_bytes(weights['bytes'])}"
    yield "weights", counted


def _tflite(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if facts["kind"] != "tflite":
        return
    if facts["quantised_share"] is not None:
        yield "quantised", f"{100 * facts['quantised_share']:.1f} % of its weights"
    yield "operators", _listed([f"{count} {name}" for name, count in facts["operators"].items()])
    if facts["needs_flex"]:
        yield "needs", "Select TensorFlow operators (Flex)"
    if not facts["has_signature"]:
        yield "signature", "none: the names are those of its tensors"
    told = facts["liteferry"]
    if isinstance(told, Mapping):
        for key, value in told.items():
            yield "metadata", f"{key}: {value}"
    elif told is not None:
        yield "metadata", "is there, and is not LiteFerry's"


def _needs(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if facts.get("needs_builder"):
        yield "needs", "a builder: it holds weights without an architecture"
    custom = facts.get("custom_objects") or {}
    if custom:
        names = [f"{name} (module {module})" if module else name for name, module in custom.items()]
        yield "needs", f"your code under `modules` or `custom_objects`: {_listed(names)}"
    for key, label in (("random_layers", "random"), ("preprocessing_layers", "prepares"), ("lambda_layers", "lambda")):
        if facts.get(key):
            yield label, _listed(facts[key])
    for finding in facts.get("findings", ()):
        opener = f"`trust: [{finding['opened_by']}]` opens it" if finding["opened_by"] else "nothing opens it"
        yield "refused", f"{finding['what']}; {opener}"


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
