"""What is wrong with a job, in sentences: each starts with its key path, states the value, and ends with the fix.

`sentences` words what pydantic found within keys, `disagreements` finds what is wrong between keys. Both work on the raw
mapping, whatever its shape, so one run of `liteferry check` shows everything.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pydantic
import pydantic_core

from liteferry import config_metrics, recipes

SAVED_MODEL = "saved_model"
_OUTPUTS = "outputs"
_DISAGREEMENT = "job_keys_disagree"

_WANTED = {  # pydantic's error type -> what the key takes
    "string_type": "text",
    "float_type": "a number",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
}
_FIXES = {
    "text": "write one value, in quotes if it looks like something else",
    "a number": "write a plain number such as {example}, without quotes or units",
    "a whole number": "write a whole number such as {example}, without quotes or units",
    "a list": "write [one, two] or a `- one` line for each",
    "a mapping": "write `key: value` lines under it",
    "true or false": "write true or false without quotes",
}


def sentences(error: pydantic.ValidationError, schema: Mapping[str, Any]) -> list[str]:
    """One sentence for each error. `schema` is the JSON Schema of the job, asked for the known keys and values of a place."""
    found = error.errors(include_url=False)
    # pydantic also calls a list too short when its items are bad; those are reported one by one
    told = [item for item in found if item["type"] != _DISAGREEMENT and not (item["type"] == "too_short" and item["input"])]
    return [_sentence(item, schema) for item in told]


def _sentence(item: Any, schema: Mapping[str, Any]) -> str:
    kind, place, value, context = item["type"], item["loc"], item["input"], item.get("ctx", {})
    path, shown = key_path(place), _shown(value)
    if kind == "extra_forbidden":
        known = sorted(_at(schema, place[:-1]).get("properties", ()))
        return f"{path}: is an unknown key{nearest(place[-1], known)}; the keys here are {', '.join(known)}"
    if kind == "missing":
        return f"{path}: is missing; add it. {_at(schema, place).get('description', '')}".rstrip()
    if kind == "invalid_key" or place[-1:] == ("[key]",):
        return f"{path}: the key {shown} is not usable text; write it in quotes"
    if kind == "enum":
        known = _at(schema, place).get("enum", [])
        return f"{path}: {shown} is not one of {', '.join(known)}{nearest(value, known)}"
    if kind in _WANTED or kind == "int_from_float":
        return f"{path}: {_wrong_type(value, _WANTED.get(kind, 'a whole number'), place, schema)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        limit = f"below {context['ge']:g}" if "ge" in context else f"above {context['le']:g}"
        return f"{path}: {shown} is {limit}; {_fix('a number', place, schema)}"
    if kind == "greater_than":
        return f"{path}: {shown} is not above {context['gt']:g}; {_fix('a number', place, schema)}"
    if kind == "finite_number":
        return f"{path}: {shown} is not a finite number; {_fix('a number', place, schema)}"
    if kind in ("too_short", "string_too_short"):
        return f"{path}: is empty; give it a value" + (" or remove the key" if kind == "string_too_short" else "")
    if kind == "value_error":
        return f"{path}: {shown} {context['error']}"
    return f"{path}: {shown} is not usable: {item['msg']}"


def _wrong_type(value: Any, wanted: str, place: Sequence[str | int], schema: Mapping[str, Any]) -> str:
    if value is None:
        return f"has no value; give it {wanted} or remove the {'item' if isinstance(place[-1], int) else 'key'}"
    return f"{_shown(value)} is not {wanted}; {_fix(wanted, place, schema)}"


def _fix(wanted: str, place: Sequence[str | int], schema: Mapping[str, Any]) -> str:
    example = _at(schema, place).get("default") or (10 if wanted == "a whole number" else 0.01)
    return _FIXES[wanted].format(example=f"{example:g}" if isinstance(example, (int, float)) else example)


def key_path(place: Sequence[str | int]) -> str:
    """("models", 0, "samples") -> models[0].samples"""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place if part != "[key]"]
    return "".join(parts).lstrip(".") or "the job"


def _shown(value: Any) -> str:
    """A value as the job file would spell it, cut to 80 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(name: Any, known: Iterable[Any]) -> str:
    """' (did you mean X?)' for the closest known name, else ''."""
    matches = difflib.get_close_matches(str(name).lower(), [str(item) for item in known], n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _at(schema: Mapping[str, Any], place: Sequence[str | int]) -> Mapping[str, Any]:
    """The part of a JSON Schema that describes `place`; {} where it says nothing."""
    node: Mapping[str, Any] = _resolved(schema, schema)
    for part in place:
        if isinstance(part, int):
            child = node.get("items", {})
        else:
            child = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = _resolved(child, schema) if isinstance(child, Mapping) else {}
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows $ref, and takes the branch of an optional value that is not null; keeps what stands beside either."""
    for option in node.get("anyOf", ()):
        if option.get("type") != "null":
            node = {**node, **option}
    if "$ref" not in node:
        return node
    return {**schema["$defs"][node["$ref"].rpartition("/")[2]], **node}


def as_flags(problems: Iterable[str]) -> list[str]:
    """The same problems under the command-line flag that each value came from: models[0].builder: -> --builder:"""
    flags = {"models": "checkpoints"}
    renamed = []
    for problem in problems:
        place, colon, rest = problem.partition(": ")
        key = re.split(r"[.\[]", re.sub(r"^models\[\d+\]\.", "", place))[0]
        renamed.append(f"--{flags.get(key, key)}{colon}{rest}")
    return list(dict.fromkeys(renamed))


def disagreement_error(problems: Sequence[str]) -> pydantic_core.PydanticCustomError:
    """What a validator raises for `disagreements`; `sentences` leaves it out, since the raw job tells more."""
    # LiteralString is what the stub asks for, so that no template holds user text; the text goes in as context.
    return pydantic_core.PydanticCustomError(_DISAGREEMENT, "{problems}", {"problems": "; ".join(problems)})


def metric_names() -> tuple[str, ...]:
    """Metrics that a gate may name; () where `liteferry.gates` is not there to be asked."""
    try:
        from liteferry.gates import METRICS
    except ImportError:
        return ()
    return tuple(METRICS)


def disagreements(raw: Mapping[Any, Any], *, variants: Sequence[str], default: Sequence[str]) -> list[str]:
    """Problems between keys of a raw job of any shape: names that nothing has, gates of what is not made, and the like."""
    samples = list(_mapping(raw.get("samples")))
    problems: list[str] = []
    for index, model in enumerate(_items(raw.get("models"))):
        problems += _model_disagreements(_mapping(model), samples, f"models[{index}]") if isinstance(model, Mapping) else []
    for name, entry in _mapping(raw.get("samples")).items():
        problems += _samples_disagreements(_mapping(entry), f"samples.{name}")
    chosen = list(_items(raw["variants"])) if isinstance(raw.get("variants"), (list, tuple)) else list(default)
    required = list(_items(_mapping(raw.get("policy")).get("require")))
    named = list(_mapping(raw.get("recipes")))
    problems += recipes.name_problems(named, variants=variants)
    chosen, variants = [*chosen, *named], [*variants, *(str(name) for name in named)]
    for key, names in (("variants", chosen), ("policy.require", required)):
        problems += [
            f"{key}[{index}]: {name!r} is there twice; keep one" for index, name in enumerate(names) if name in names[:index]
        ]
    for index, name in enumerate(required):
        if isinstance(name, str) and name and name not in variants:
            problems.append(f"policy.require[{index}]: {name!r} is not one of {_list(variants)}{nearest(name, variants)}")
        if name in variants and name not in chosen:
            problems.append(f"policy.require[{index}]: {name!r} is not made by this job; add it to variants or remove it here")
    for target, metrics in _mapping(raw.get("gates")).items():
        problems += _gate_disagreements(str(target), _mapping(metrics), chosen, variants)
    return problems + config_metrics.disagreements(raw)


def _model_disagreements(model: Mapping[Any, Any], samples: list[Any], path: str) -> list[str]:
    problems = []
    name = model.get("samples")
    if name is None and len(samples) > 1:
        problems.append(f"{path}.samples: is missing, and there are {len(samples)} to choose from; name one of {_list(samples)}")
    elif isinstance(name, str) and name and name not in samples:
        hint = nearest(name, samples)
        problems.append(f"{path}.samples: {name!r} is not under samples{hint}, which has {_list(samples) or 'no entry'}")
    if model.get("weights") == "by_position" and model.get("builder") is None:
        problems.append(f"{path}.weights: there is no builder whose order could count; add builder: module:callable or remove it")
    if model.get("builder_args") and model.get("builder") is None:
        problems.append(f"{path}.builder_args: there is no builder to take them; add builder: module:callable or remove them")
    return problems


def _samples_disagreements(entry: Mapping[Any, Any], path: str) -> list[str]:
    problems = []
    if entry.get("take") is not None and entry.get("fraction") is not None:
        problems.append(f"{path}.fraction: there is take as well, and either says how many rows; remove one of them")
    for key in ("size", "scale", "offset"):
        if entry.get(key) is not None and entry.get("decode") is None:
            problems.append(f"{path}.{key}: is for decoded images; add decode: image or remove it")
    return problems


def _gate_disagreements(target: str, metrics: Mapping[Any, Any], chosen: Sequence[Any], variants: Sequence[str]) -> list[str]:
    targets, known = [SAVED_MODEL, *variants], metric_names()
    problems = []
    if target not in targets:
        problems.append(f"gates.{target}: is not a variant{nearest(target, targets)}; gates are for {_list(targets)}")
    elif target != SAVED_MODEL and target not in chosen:
        problems.append(f"gates.{target}: this job does not make {target}; add it to variants or remove its gates")
    outputs = _mapping(metrics.get(_OUTPUTS))
    for path, named in (
        (f"gates.{target}", [metric for metric in metrics if metric != _OUTPUTS]),
        *((f"gates.{target}.{_OUTPUTS}.{output}", list(_mapping(limits))) for output, limits in outputs.items()),
    ):
        problems += [
            f"{path}.{metric}: is not a metric{nearest(metric, known)}; known metrics: {_list(known)}"
            for metric in (named if known else ())
            if metric not in known
        ]
    return problems


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _list(names: Sequence[Any]) -> str:
    return ", ".join(str(name) for name in names)
