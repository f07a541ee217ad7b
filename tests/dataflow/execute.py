"""Runs a staged pipeline as Dataflow would: every environment is a process of the given Python, which has only what was staged.

python -m tests.dataflow.execute PIPELINE_PB PYTHON FOLDER
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


def main(pipeline_path: str, python: str, folder: str) -> None:
    pipeline = beam_runner_api_pb2.Pipeline.FromString(Path(pipeline_path).read_bytes())
    worker = f"cd {shlex.quote(folder)} && exec {shlex.quote(python)} -m apache_beam.runners.worker.sdk_worker_main"
    for environment in pipeline.components.environments.values():
        environment.urn = python_urns.SUBPROCESS_SDK
        environment.payload = worker.encode()
    result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
    print(result.wait_until_finish())


if __name__ == "__main__":
    main(*sys.argv[1:])
