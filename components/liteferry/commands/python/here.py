"""Runs a job in this process and its sandboxes, without Beam: calls the stages' functions one after another."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from liteferry import sandbox, storage
from liteferry.config.job import Job
from liteferry.evaluation.proven import proven_alone
from liteferry.output import fleet_files, held_back, run_lock
from liteferry.output.begin import find_finished
from liteferry.output.publish import judge_and_publish
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.job_files import refuse_missing_files
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.plan.planning import plan_models
from liteferry.sandbox import scratch
from liteferry.storage import beneath, layout
from liteferry.types import ExportedModel

Confirm = Callable[[ModelPlan, ExportedModel], ExportedModel]


def run_here(job: Job, out: str, *, force: bool = False, confirm: Confirm | None = None) -> list[str]:
    """Works on every checkpoint of a job, one after another. Other models of `out` keep their reports and rows of the fleet.

    Args:
      confirm: called with each model after it was exported and evaluated, before it is judged; returns the exported model, with
        its findings added.

    Returns:
      The ids of the job's models.

    Raises:
      JobError, StorageError: before anything was run.
    """
    from liteferry.commands.report_pages import read_reports
    from liteferry.report.pages.render import write_assets

    scratch.catch_temporaries()
    refuse_missing_files(job)
    beneath.refuse_links(out)
    with run_lock.exclusive(out):
        run_lock.clear_leftovers(out)
        write_assets(out)
        sandbox.warm_up()
        done = {}
        for plan in map(fingerprint, plan_models(job, out)):
            ready, report = find_finished(plan, force=force)
            done[plan.model_id] = report if report is not None else _work_on(ready, confirm)
        others = [report for report in read_reports(out) if report["model_id"] not in done]
        fleet_files.write([*done.values(), *others], out, uuid.uuid4().hex)
        run_lock.clear_leftovers(out)
    return sorted(done)


def _work_on(plan: ModelPlan, confirm: Confirm | None) -> Mapping[str, Any]:
    (plan,) = begin_attempt([plan])
    exported, told = proven_alone(plan)
    if confirm is not None and exported.saved_model is not None:
        exported = confirm(plan, exported)
    return judge_and_publish(plan, exported, told)


def report_of(out: str, model_id: str) -> tuple[str, dict[str, Any]]:
    """The folder and the report of a model's latest result: its attempt if one is held back, so that an older blessing is never
    mistaken for this result.
    """
    published, attempt = held_back.reports_of(out, model_id)
    folder = layout.ATTEMPTS if attempt else layout.MODELS
    return storage.join(out, folder, model_id), attempt or published
