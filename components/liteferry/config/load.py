"""Reads a job: YAML or JSON, a mapping or flags -> `Job`, or all of its problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from liteferry.config import cross_checks, job_problems, key_docs, metrics_config, parsing, quantizer_recipes
from liteferry.config.job import DEFAULT_VARIANTS, VARIANTS, Job
from liteferry.config.job_problems import SAVED_MODEL
from liteferry.config.value_types import is_uri
from liteferry.errors import JobError


def _parse(raw: Mapping[Any, Any], base_dir: str | None) -> tuple[Job | None, list[str]]:
    try:
        job = Job.model_validate(raw, context={"base_dir": base_dir})
        problems = metrics_config.problems_of(job) + quantizer_recipes.problems_of(job)
        return (None, problems) if problems else (job, [])
    except pydantic.ValidationError as error:
        problems = job_problems.sentences(error, job_schema())
    return None, list(dict.fromkeys(problems + cross_checks.disagreements(raw, variants=VARIANTS, default=DEFAULT_VARIANTS)))


def parse_job(mapping: Mapping[str, Any], *, base_dir: str | None, source: str = "job") -> Job:
    """The Job of a mapping. Relative paths join `base_dir`, or stay as they are when it is None. JobError lists every problem."""
    job, problems = _parse(mapping, base_dir)
    if job is None:
        raise JobError(problems, source=source)
    return job


def load_job(path: str | os.PathLike[str]) -> Job:
    """The Job of a .yaml or .json file, also on a store. Relative paths are relative to its folder.
    JobError lists every problem.
    """
    source = os.fspath(path)
    try:
        raw, problems = parsing.read_job_file(source)
        if not isinstance(raw, Mapping):
            raise JobError(problems, source=source)
        job, more = _parse(raw, os.path.dirname(source if is_uri(source) else os.path.abspath(source)))
    except RecursionError:
        raise JobError(["the file: nests too deeply to be a job; write it flatter"], source=source) from None
    except ValueError as error:  # a number of thousands of digits cannot even be shown
        raise JobError([f"the file: cannot be used: {error}"], source=source) from None
    if job is None or problems:
        raise JobError([*problems, *more], source=source)
    return job


# Other tools' names of these formats.
_OTHER_NAMES = {
    **dict.fromkeys(("fp32", "f32", "float", "single"), "float32"),
    **dict.fromkeys(("fp16", "f16", "half", "float_16"), "float16"),
    **dict.fromkeys(("dynamic", "dynamic_range", "drq", "dynamic-int8"), "dynamic_int8"),
    **dict.fromkeys(("full_int8", "full-int8", "static_int8"), "int8"),
    **dict.fromkeys(("16x8", "int16"), "int16x8"),
}


def job_from_flags(  # wide: public
    *,
    checkpoints: Sequence[str],
    samples: str | None = None,
    variants: Sequence[str] | None = None,
    modules: Sequence[str] = (),
    builder: str | None = None,
    builder_args: Mapping[str, Any] | None = None,
    trust: Sequence[str] = (),
    reads: Sequence[str] = (),
    entry: Mapping[str, Any] | None = None,
    rows: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] | None = None,
) -> Job:
    """The same Job without a job file: every pattern runs on the same samples; paths are relative to the working directory.
    `entry`, `rows`: more keys of the models' entries and of the samples'.

    JobError lists every problem under the flag that it came from.
    """
    model = {"builder": builder, "builder_args": builder_args or {}, **(entry or {})}
    raw: dict[str, Any] = {
        "models": [{"checkpoints": pattern, **model} for pattern in checkpoints],
        "samples": {} if samples is None else {"samples": {**(rows or {}), "path": samples}},
        "modules": list(modules),
        "trust": list(trust),
        "reads": list(reads),
    }
    if variants is not None:
        raw["variants"] = [_OTHER_NAMES.get(name.strip().lower(), name.strip()) for name in variants]
    if metrics is not None:
        raw["metrics"] = list(metrics)
    job, problems = _parse(raw, os.getcwd())
    if job is None:
        raise JobError(job_problems.as_flags(problems), source="command line")
    return job


def job_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the job file with a description for every key, for editors and `liteferry schema`."""
    schema = Job.model_json_schema()
    key_docs.describe(schema, Job)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "LiteFerry job file"
    gates = schema["properties"]["gates"]
    gates["propertyNames"] = {"anyOf": [{"enum": [SAVED_MODEL, *VARIANTS]}, {"type": "string"}]}  # else the name of a recipe
    metrics = cross_checks.metric_names()
    of_variant = schema["$defs"]["VariantGates"]
    of_variant["propertyNames"] = {"enum": ["outputs", *metrics]}
    of_variant["properties"]["outputs"]["additionalProperties"]["propertyNames"] = {"enum": list(metrics)}
    return schema
