"""`liteferry check`: what a job would do, without TensorFlow and without running anything."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Sequence
from typing import Any

from liteferry import storage
from liteferry.config import Job
from liteferry.errors import JobError, SamplesError
from liteferry.job_files import find_checkpoints, refuse_missing_files
from liteferry.report import fields
from liteferry.report.formats import printable

_AT_ONCE = 4


def check(job: Job) -> dict[str, Any]:
    """What a job would do, JSON-ready: `{samples: {name: {rows, rows_in_files, shards, columns}}, models: [{model_id, kind,
    uri}], variants}`.

    Raises:
      JobError: a pattern that names nothing, samples that cannot be used.
    """
    from liteferry.sample_headers import describe_contained
    from liteferry.samples import open_samples

    refuse_missing_files(job)
    found = find_checkpoints(job)
    problems, samples = [], {}
    # Each looks into files in a process of its own, which takes longer to start than to look.
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        kinds = pool.submit(_kinds, [at.uri for at in found])
        opening = {name: pool.submit(open_samples, spec, describe=describe_contained) for name, spec in job.samples.items()}
    for name, opened_or_not in opening.items():
        try:
            opened = opened_or_not.result()
        except SamplesError as error:
            problems.append(f"samples.{name}: {error.reason.message}")
            continue
        columns = {column: {"dtype": facts.dtype, "shape": list(facts.shape)} for column, facts in opened.columns.items()}
        samples[name] = {
            "rows": opened.row_count,
            "rows_in_files": opened.rows_in_files or opened.row_count,
            "shards": len(opened.shards),
            "columns": columns,
        }
    if problems:
        raise JobError(problems)
    return {
        "samples": samples,
        "models": [
            {"model_id": at.model_id, "kind": kind, "uri": at.uri} for at, kind in zip(found, kinds.result(), strict=True)
        ],
        "variants": [*(variant.value for variant in job.variants), *job.recipes],
    }


def _kinds(uris: Sequence[str]) -> list[str]:
    """The kind of each, or the reason code of what it is instead. What lies on a store is not fetched for that."""
    from liteferry.inspection.contained import kinds

    here = [uri for uri in uris if not storage.is_remote(uri)]
    found = dict(zip(here, kinds(here), strict=True))
    return [found.get(uri, "not looked into") for uri in uris]


def print_check(job: Job, *, as_json: bool = False) -> int:
    """Prints every checkpoint with its kind, and the state of the samples. Returns 0; problems of the job were raised before."""
    facts = check(job)
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    for name, rows in facts["samples"].items():
        columns = ", ".join(f"{column} {about['dtype']}{about['shape']}" for column, about in rows["columns"].items())
        of_all = f" of {rows['rows_in_files']:,}" if rows["rows_in_files"] != rows["rows"] else ""
        _say(f"samples {name}: {rows['rows']:,}{of_all} rows in {rows['shards']} shard(s); {columns}")
    width = max(len(model["model_id"]) for model in facts["models"])
    for model in facts["models"]:
        _say(f"  {model['model_id']:<{width}}  {model['kind']:<18}  {model['uri']}")
    variants = facts["variants"]
    print(f"{len(facts['models'])} checkpoint(s) x {len(variants)} variant(s): {', '.join(variants)}")
    return 0


def _say(line: str) -> None:
    """Prints one line: names of files and columns may hold line ends, and what a terminal would obey."""
    print(" ".join(printable(fields.text(line) or "").splitlines()))
