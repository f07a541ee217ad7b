"""`liteferry check`: what a job would do, without TensorFlow and without running anything."""

from __future__ import annotations

import os

from liteferry.config import Job
from liteferry.plan import find_checkpoints


def print_check(job: Job) -> int:
    """Prints every checkpoint with its kind, and the state of the samples. Returns 0; problems of the job were raised before.

    Raises:
      JobError: a pattern that names nothing, samples that cannot be used.
    """
    from liteferry.errors import JobError, SamplesError
    from liteferry.samples import open_samples

    found = find_checkpoints(job)
    problems = []
    for name, spec in job.samples.items():
        try:
            samples = open_samples(spec)
            columns = ", ".join(f"{column} {facts.dtype}{list(facts.shape)}" for column, facts in samples.columns.items())
            print(f"samples {name}: {samples.row_count:,} rows in {len(samples.shards)} shard(s); {columns}")
        except SamplesError as error:
            problems.append(f"samples.{name}: {error.reason.message}")
    if problems:
        raise JobError(problems)
    for checkpoint in found:
        print(f"  {checkpoint.model_id:<32} {_kind(checkpoint.uri):<18} {checkpoint.uri}")
    variants = ", ".join(variant.value for variant in job.variants)
    print(f"{len(found)} checkpoint(s) x {len(job.variants)} variant(s): {variants}")
    return 0


def _kind(uri: str) -> str:
    from liteferry.checkpoints.detect import detect

    try:
        kind = detect(uri)
    except OSError as error:
        return f"unreadable ({os.strerror(error.errno or 0)})"
    return kind.value if kind is not None else "no checkpoint"
