"""`liteferry check`: what a job would do, without TensorFlow and without running anything."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Sequence
from typing import Any

from liteferry import lenient, storage
from liteferry.config.job import Job
from liteferry.errors import JobError, ModelError, SamplesError
from liteferry.plan.discovery import FoundCheckpoint
from liteferry.plan.job_files import find_checkpoints, refuse_missing_files
from liteferry.report.formats import printable

_AT_ONCE = 4
_SHOWN = 5


def check(job: Job) -> dict[str, Any]:
    """What a job would do, JSON-ready: `{samples: {name: {rows, rows_in_files, shards, columns}}, models: [{model_id, kind,
    uri, refused}], variants}`. `refused`: what a run would refuse of it, with what the job trusts.

    Raises:
      JobError: a pattern that names nothing, samples that cannot be used.
    """
    from liteferry.samples.headers import describe_contained
    from liteferry.samples.opening import open_samples

    refuse_missing_files(job)
    found = find_checkpoints(job)
    problems, samples = [], {}
    # Both read files in a process of their own, which takes longer to start than to read.
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        looked = pool.submit(_looks, job, found)
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
            {"model_id": at.model_id, "kind": kind, "uri": at.uri, "refused": refused}
            for at, (kind, refused) in zip(found, looked.result(), strict=True)
        ],
        "variants": [*(variant.value for variant in job.variants), *job.recipes],
    }


def _looks(job: Job, found: Sequence[FoundCheckpoint]) -> list[tuple[str, list[str]]]:
    """The kind of each, or the reason code of what it is instead, and what would be refused of it. What lies on a store is not
    fetched for that.
    """
    from liteferry.checkpoints.links import LinkRule, follow
    from liteferry.commands.inspect.contained import kinds_and_findings

    trust = [trusted.value for trusted in job.trust]
    answers: dict[str, tuple[str, list[str]]] = {}
    for at in found:
        try:
            if not storage.is_remote(at.uri):
                follow(at.uri, LinkRule.of(trust, root=at.link_root))
        except ModelError as error:
            answers[at.uri] = (error.reason.code.value, [error.reason.message])
    here = [at.uri for at in found if not storage.is_remote(at.uri) and at.uri not in answers]
    for uri, (kind, findings) in zip(here, kinds_and_findings(here), strict=True):
        answers[uri] = (kind, [finding["what"] for finding in findings if finding["opened_by"] not in trust])
    return [answers.get(at.uri, ("not looked into", [])) for at in found]


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
        for what in model["refused"][:_SHOWN]:
            _say(f"  {'':<{width}}  refused: {what}")
    variants = facts["variants"]
    print(f"{len(facts['models'])} checkpoint(s) x {len(variants)} variant(s): {', '.join(variants)}")
    return 0


def _say(line: str) -> None:
    """Prints one line: names of files and columns may hold line ends, and what a terminal would obey."""
    print(" ".join(printable(lenient.text(line) or "").splitlines()))
