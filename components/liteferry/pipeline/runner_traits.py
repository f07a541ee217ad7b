"""Properties of the runner that Beam's flags select: where its bundles run, and whether to wait for its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from liteferry.errors import JobError

if TYPE_CHECKING:
    from liteferry.config.job import Job

# Beam's DirectRunner first looks for an engine to download, which fails or hangs without a network; this is the engine bundled
# with Beam.
LOCAL_ENGINE = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"

# Memory of a worker besides its models: Beam's process and the two that sandboxes are forked from, which have
# TensorFlow imported.
_WORKER_BYTES = 2 * 10**9


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunnerTraits:
    """`name`: the runner's class. `is_local`: Beam's own engine on this machine. `is_here`: its bundles run in this process.
    `is_dataflow`: its workers are other machines, which see object stores alone. `waits`: whether the launcher waits for the
    end. `workers`: the number, or maximum, of worker processes, if the flags say so.
    """

    name: str
    is_local: bool
    is_here: bool
    is_dataflow: bool
    waits: bool
    workers: int


_WITHOUT_FLAGS = RunnerTraits(name="FnApiRunner", is_local=True, is_here=True, is_dataflow=False, waits=True, workers=1)


def with_local_engine(flags: Sequence[str]) -> list[str]:
    """The flags with Beam's bundled engine, where they name no runner or the one that would download another engine."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    runner = PipelineOptions(list(flags)).view_as(StandardOptions).runner
    return [*flags, f"--runner={LOCAL_ENGINE}"] if runner in (None, "DirectRunner") else list(flags)


def traits_of(flags: Sequence[str]) -> RunnerTraits:
    """The traits of the runner in Beam's flags. Without flags, Beam need not be imported."""
    if not flags:
        return _WITHOUT_FLAGS
    from apache_beam.options.pipeline_options import (
        DirectOptions,
        GoogleCloudOptions,
        PipelineOptions,
        StandardOptions,
        WorkerOptions,
    )

    options = PipelineOptions(with_local_engine(flags))
    standard = options.view_as(StandardOptions)
    name = standard.runner.rpartition(".")[2]
    is_local = name == "FnApiRunner"
    direct, elsewhere = options.view_as(DirectOptions), options.view_as(WorkerOptions)
    has_processes = direct.direct_running_mode == "multi_processing"
    counts = (direct.direct_num_workers,) if is_local and has_processes else (elsewhere.num_workers, elsewhere.max_num_workers)
    return RunnerTraits(
        name=name,
        is_local=is_local,
        is_here=is_local and not has_processes,
        is_dataflow=name == "DataflowRunner",
        # A template is a file that says how to start the job; nothing runs yet.
        waits=not (standard.no_wait_until_finish or options.view_as(GoogleCloudOptions).template_location),
        workers=max(1, *(count or 0 for count in counts)),
    )


def needed_bytes(job: Job, *, processes: int | None) -> int:
    """Memory that a worker needs for its sandboxes, each at the job's limit; for a single sandbox if the worker decides how
    many it runs.
    """
    return _WORKER_BYTES + (processes or 1) * int(job.limits.memory_gb_per_model * 10**9)


def refuse_bare_workers(flags: Sequence[str]) -> None:
    """Raises JobError if the flags give Dataflow's workers no way to install LiteFerry."""
    from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, WorkerOptions

    options = PipelineOptions(list(flags))
    setup = options.view_as(SetupOptions)
    if not (
        options.view_as(WorkerOptions).sdk_container_image or setup.setup_file or setup.extra_packages or setup.requirements_file
    ):
        problem = (
            "sdk_container_image: none is named, nor setup_file nor extra_packages: the workers would have no LiteFerry; "
            "docs/dataflow.md says how to make the container"
        )
        raise JobError([problem], source="runner: DataflowRunner")


def refuse_local_paths(job: Job, out: str) -> None:
    """Raises JobError with every path that a worker on another machine would not find."""
    from liteferry.config.value_types import is_uri

    named = [("--output", out)]
    named += [(f"models[{index}].checkpoints", entry.checkpoints) for index, entry in enumerate(job.models)]
    named += [(f"samples.{name}.path", spec.path) for name, spec in job.samples.items()]
    named += [("modules", module) for module in job.modules if module.endswith(".py")]
    problems = [
        f"{key}: {path} is on this machine, where Dataflow's workers do not see it; put it on gs:// and name it there"
        for key, path in named
        if not is_uri(path) or path.startswith("file://")
    ]
    if problems:
        raise JobError(problems, source="runner: DataflowRunner")
