"""Problems between the keys of a job: unknown names, gates of variants that are not made, keys that exclude each other.

The checks work on a raw mapping of any shape, so that one `liteferry check` shows every problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic_core

from liteferry.config import metric_settings
from liteferry.config.job_problems import DISAGREEMENT, SAVED_MODEL, nearest

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")  # becomes part of file names, keys and anchors


_TAKEN = ("saved_model", "reference", "rows", "checkpoint", "twin")  # names that reports use beside variants


def name_problems(names: Sequence[Any], *, variants: Sequence[str]) -> list[str]:
    """Problems with names of recipes that a variant may not have; each starts with its key."""
    problems = []
    for name in names:
        if str(name) in variants or str(name).lower() in (*_TAKEN, *variants):
            problems.append(f"recipes.{name}: is the name of something else in a report; give the recipe another")
        elif not _NAME.fullmatch(str(name)):
            problems.append(f"recipes.{name}: is no name for a variant; use letters, digits and _, a letter first, at most 64")
    return problems


_TARGETS = ("cpu", "microcontroller", "gpu")
_ETHOS = re.compile(r"ethos-u(55-(32|64|128|256)|65-(256|512)|85-(128|256|512|1024|2048))")


def _target_problems(names: Sequence[Any]) -> list[str]:
    known = [*_TARGETS, "ethos-u55-256"]
    others = "ethos-u55-32, -64, -128, -256, ethos-u65-256, -512, ethos-u85-128, -256, -512, -1024 and -2048"
    return [
        f"targets[{index}]: {name!r} is no target{nearest(name, known)}; known are {_list(_TARGETS)}, and {others}"
        for index, name in enumerate(names)
        if isinstance(name, str) and name and name not in _TARGETS and not _ETHOS.fullmatch(name)
    ] + [f"targets[{index}]: {name!r} is there twice; keep one" for index, name in enumerate(names) if name in names[:index]]


_OUTPUTS = "outputs"


def disagreement_error(problems: Sequence[str]) -> pydantic_core.PydanticCustomError:
    """The error that a pydantic validator raises for a problem of `disagreements`. `sentences` leaves it out, since
    `disagreements` words the problem better from the raw job.
    """
    # the stub requires a LiteralString, so that no template contains user text; the text is passed as context.
    return pydantic_core.PydanticCustomError(DISAGREEMENT, "{problems}", {"problems": "; ".join(problems)})


def metric_names() -> tuple[str, ...]:
    """Metrics that a gate may name."""
    from liteferry.parity.gates import METRICS

    return tuple(METRICS)


def disagreements(raw: Mapping[Any, Any], *, variants: Sequence[str], default: Sequence[str]) -> list[str]:
    """Problems between keys of a raw job of any shape: unknown names, gates of variants that are not made, and similar."""
    samples = list(_mapping(raw.get("samples")))
    problems: list[str] = []
    for index, model in enumerate(_items(raw.get("models"))):
        problems += _model_disagreements(_mapping(model), samples, f"models[{index}]") if isinstance(model, Mapping) else []
    for name, entry in _mapping(raw.get("samples")).items():
        problems += _samples_disagreements(_mapping(entry), f"samples.{name}")
    chosen = list(_items(raw["variants"])) if isinstance(raw.get("variants"), (list, tuple)) else list(default)
    required = list(_items(_mapping(raw.get("policy")).get("require")))
    named = list(_mapping(raw.get("recipes")))
    problems += name_problems(named, variants=variants) + _target_problems(_items(raw.get("targets")))
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
    return problems + metric_settings.disagreements(raw)


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
            for metric in named
            if metric not in known
        ]
    return problems


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _list(names: Sequence[Any]) -> str:
    return ", ".join(str(name) for name in names)
