"""The job file: its records, its reader and its JSON Schema."""

from liteferry.config.job import Job, Limits, ModelSpec, Policy, SamplesSpec
from liteferry.config.load import job_from_flags, job_schema, load_job, parse_job

__all__ = ["Job", "Limits", "ModelSpec", "Policy", "SamplesSpec", "job_from_flags", "job_schema", "load_job", "parse_job"]
