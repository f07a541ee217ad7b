"""`liteferry check`: what a job would do, without TensorFlow and without running anything."""

from __future__ import annotations

import os

from liteferry.config import Job
from liteferry.plan import find_checkpoints, refuse_missing_files


def print_check(job: Job) -> int:
    """Prints every checkpoint with its kind, and the state of the samples. Returns 0; problems of the job were raised before.

    Raises:
      JobError: a pattern that names nothing, samples that cannot be used.
    """
    from liteferry.errors import JobError, SamplesError
    from liteferry.samples import open_samples

    refuse_missing_files(job)
    found = find_checkpoints(job)
    problems = []
    for name, spec in job.samples.items():
        try:
            samples = open_samples(spec)
            columns = ", ".join(f"{column} {facts.dtype}{list(facts.shape)}" for column, facts in samples.columns.items())
            rows = f"{samples.row_count:,}" + (f" of {samples.rows_in_files:,}" if samples.rows_in_files else "")
            print(f"samples {name}: {rows} rows in {len(samples.shards)} shard(s); {columns}")
        except SamplesError as error:
            problems.append(f"samples.{name}: {error.reason.message}")
    if problems:
        raise JobError(problems)
    width = max(len(checkpoint.model_id) for checkpoint in found)
    for checkpoint in found:
        print(f"  {checkpoint.model_id:<{width}}  {_kind(checkpoint.uri):<18}  {checkpoint.uri}")
    variants = [*(variant.value for variant in job.variants), *job.recipes]
    print(f"{len(found)} checkpoint(s) x {len(variants)} variant(s): {', '.join(variants)}")
    return 0


def _kind(uri: str) -> str:
    """The kind as the report will name it, or in a few words why there is none."""
    from liteferry.checkpoints.detect import examine
    from liteferry.errors import ModelError

    try:
        return examine(uri).kind.value
    except ModelError as error:
        return error.reason.code.value
    except OSError as error:
        return f"unreadable ({os.strerror(error.errno or 0)})"
