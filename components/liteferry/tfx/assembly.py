"""Builds a Job from the component's channels and parameters. Works with paths only, without TFX."""

from __future__ import annotations

import dataclasses
import glob as globbing
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import storage
from liteferry.config.job import Job
from liteferry.config.load import parse_job
from liteferry.config.parsing import read_job_file
from liteferry.errors import JobError

_SERVING = "Format-Serving"  # where TFX's Trainer leaves the model for serving
_SPLIT = "Split-"
_FILES = ("*.keras", "*.h5", "*.hdf5", "*.index")
_SOURCE = "LiteFerry component"
_ONE_ENTRY = "what the channel `models` or the parameter `checkpoints` names needs exactly one, or no entry at all"
_ONE_OF_EACH = "there must be exactly one of each"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The addresses from the channels.

    `split_names` are those that the Examples artifact declares; without any, the folders are listed.
    """

    models: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    split_names: tuple[str, ...] = ()
    schema: str | None = None


def assemble(inputs: Inputs, *, job: str | None, checkpoints: str | None, split: str | None) -> Job:
    """The job file completed from the channels.

    A `models` entry without `checkpoints` is the pattern for all that `checkpoints` and the Model artifacts name; a `samples`
    entry without `path` gets the Examples. Either may be left out if it would be empty.

    Args:
      job: path of a job file, or a job as JSON text; relative paths in the latter start at the working directory.
      checkpoints: a path or a glob.
      split: which split of the Examples; by default `eval`, or the only one.

    Raises:
      JobError: the arguments contradict each other, or the job has problems; all are listed.
    """
    raw, base_dir, source = _read(job)
    sources = [*([checkpoints] if checkpoints else []), *(found for uri in inputs.models for found in _checkpoints_of(uri))]
    if sources:
        raw["models"] = _fill_models(raw.get("models"), sources)
    if inputs.examples:
        raw["samples"] = _fill_samples(raw.get("samples"), inputs, split)
    elif split:
        raise JobError([f"split: {split!r}, but no Examples are connected; connect `examples` or leave it out"], source=_SOURCE)
    if not raw.get("models"):
        raise JobError(["models: nothing to export; connect `models`, or give `checkpoints` or a `job`"], source=_SOURCE)
    return parse_job(raw, base_dir=base_dir, source=source)


def _read(job: str | None) -> tuple[dict[str, Any], str, str]:
    """(mapping, the folder its relative paths start at, its name in messages)"""
    if not job:
        return {}, os.getcwd(), _SOURCE
    if not job.lstrip().startswith("{"):
        raw, problems = read_job_file(job)
        if problems:
            raise JobError(problems, source=job)
        return dict(raw), os.path.dirname(os.path.abspath(job)), job
    try:
        return dict(json.loads(job)), os.getcwd(), _SOURCE
    except ValueError as error:
        raise JobError([f"job: begins as JSON does but is none: {error}"], source=_SOURCE) from error


def _checkpoints_of(uri: str) -> list[str]:
    """The contents of a Model artifact: a SavedModel or checkpoint files; else the folder itself, whose report will name the
    problem.
    """
    serving = storage.join(uri, _SERVING)
    folder = serving if storage.exists(serving) else uri
    if storage.exists(storage.join(folder, "saved_model.pb")):
        return [globbing.escape(folder)]
    files = [path for pattern in _FILES for path in storage.glob(storage.join(globbing.escape(folder), pattern))]
    return [globbing.escape(path) for path in files] or [globbing.escape(folder)]


def _fill_models(entries: Any, sources: Sequence[str]) -> Any:
    if not _holds_mappings(entries, list):
        return entries  # the check of the job file reports the problem
    entries = [dict(entry) for entry in entries or []]
    open_ones = [entry for entry in entries if "checkpoints" not in entry] or ([] if entries else [{}])
    if len(open_ones) != 1:
        raise JobError([f"models: {len(open_ones)} entries without `checkpoints`; {_ONE_ENTRY}"], source=_SOURCE)
    return [entry for entry in entries if "checkpoints" in entry] + [{**open_ones[0], "checkpoints": at} for at in sources]


def _holds_mappings(value: Any, kind: type) -> bool:
    items = value.values() if isinstance(value, Mapping) else value
    return value is None or (isinstance(value, kind) and all(isinstance(item, Mapping) for item in items))


def _fill_samples(samples: Any, inputs: Inputs, split: str | None) -> Any:
    if not _holds_mappings(samples, dict):
        return samples
    samples = {name: dict(entry) for name, entry in (samples or {"examples": {}}).items()}
    open_ones = [name for name, entry in samples.items() if "path" not in entry]
    if len(open_ones) != 1 or len(inputs.examples) != 1:
        raise JobError(
            [f"samples: {len(open_ones)} entries without `path`, {len(inputs.examples)} Examples artifacts; {_ONE_OF_EACH}"],
            source=_SOURCE,
        )
    uri = inputs.examples[0]
    folder = storage.join(uri, f"{_SPLIT}{_choose_split(uri, inputs.split_names, split)}")
    filled = {"path": storage.join(globbing.escape(folder), "*"), **samples[open_ones[0]]}
    if inputs.schema is not None:
        filled.setdefault("schema_file", storage.join(inputs.schema, "schema.pbtxt"))
    return {**samples, open_ones[0]: filled}


def _choose_split(uri: str, declared: Sequence[str], split: str | None) -> str:
    names = list(declared) or [name.removeprefix(_SPLIT) for name in storage.list_directory(uri) if name.startswith(_SPLIT)]
    wanted = split or ("eval" if "eval" in names or len(names) != 1 else names[0])
    if wanted not in names:
        there = ", ".join(names) or f"none: it has no {_SPLIT}* folder"
        raise JobError([f"split: the Examples at {uri} have no split {wanted!r} (splits: {there}); name one"], source=_SOURCE)
    return wanted


def fingerprint(job: Job, out: str) -> str:
    """Digest of everything that the reports depend on: bytes of checkpoints, samples and code, the job's keys, LiteFerry's
    version.

    Reads every checkpoint once. If one cannot be read, the digest is different every time, so that TFX never uses its cache.
    """
    from liteferry.plan import fingerprints, planning

    plans = [fingerprints.fingerprint(at) for at in planning.plan_models(job, out)]
    known = [[at.model_id, at.uri, at.digest or uuid.uuid4().hex, at.recipe_digest] for at in plans]
    limits = job.limits.model_dump(mode="json")
    return f"sha256:{hashlib.sha256(json.dumps([known, limits], sort_keys=True).encode(errors='surrogateescape')).hexdigest()}"
