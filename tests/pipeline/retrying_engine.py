"""The stages that work on models, under an engine that does lost work again: Dask, by Beam's DaskRunner, with a worker that dies.

    python -m tests.pipeline.retrying_engine JOB OUT

Says when it killed a worker. Only a linear pipeline can run there: of one with branches DaskRunner 2.77 computes the last leaf.
It also drops what a DoFn hands over when its bundle ends, which is repaired here.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import dask
import distributed
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.common import DoFnInvoker
from apache_beam.runners.dask import transform_evaluator
from apache_beam.runners.dask.dask_runner import DaskRunner

from liteferry.config.load import load_job
from liteferry.output.finished import numbered
from liteferry.pipeline.stages.evaluate import EvaluateParity
from liteferry.pipeline.stages.export import ExportModels
from liteferry.pipeline.stages.metrics import ComputeMetrics
from liteferry.pipeline.stages.publish import JudgeAndPublish
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.planning import plan_models


def apply_whole_bundle(items: Any, arguments: Any, keywords: Any, receivers: Any) -> list[Any]:
    """Beam's function of this place takes the results before `finish_bundle` has added its own."""
    del receivers.values[:]
    invoker = DoFnInvoker.create_invoker(*arguments, **keywords)
    invoker.invoke_setup()
    invoker.invoke_start_bundle()
    for item in items:
        invoker.invoke_process(item)
    invoker.invoke_finish_bundle()
    invoker.invoke_teardown()
    return [received.value for received in receivers.values]


def kill_the_one_at_work(cluster: distributed.LocalCluster, out: str, total: int) -> None:
    """As soon as the first report is there, while others of its models are half done and not begun."""
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        while not (found := list(Path(out).glob("models/*/report.json"))):
            time.sleep(0.01)
        at_work = {address for address, tasks in client.processing().items() if tasks}
    pids = {nanny.worker_address: nanny.pid for nanny in cluster.workers.values()}
    for address in at_work:
        os.kill(pids[address], signal.SIGKILL)
    print(f"killed {len(at_work)} worker with {len(found)} of {total} reports there", flush=True)


def main(job_path: str, out: str) -> None:
    transform_evaluator.apply_dofn_to_bundle = apply_whole_bundle
    # Workers start processes of their own, and a machine that is busy takes its time to start them.
    dask.config.set({"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": "300s"})
    job = load_job(job_path)
    plans = [numbered(fingerprint(plan)) for plan in plan_models(job, out)]
    # One partition: one of the two works on all models, and the other is there to take over.
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        threading.Thread(target=kill_the_one_at_work, args=(cluster, out, len(plans)), daemon=True).start()
        options = PipelineOptions([f"--dask_client_address={cluster.scheduler_address}", "--dask_npartitions=1"])
        with beam.Pipeline(runner=DaskRunner(), options=options) as pipeline:
            (
                pipeline
                | "Plans" >> beam.Create(plans)
                | "Export" >> ExportModels(1)
                | "Evaluate" >> EvaluateParity(1)
                | "Metrics" >> ComputeMetrics(1)
                | "Publish" >> JudgeAndPublish()
            )
        distributed.default_client().close()  # DaskRunner's own, which would look for its cluster for half a minute


if __name__ == "__main__":
    main(*sys.argv[1:])
