"""`liteferry check`: what a job would do, without TensorFlow and without running anything."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from liteferry import lenient
from liteferry.commands import readers
from liteferry.commands.foresee import Foreseen, Rows, State, foresee, look_into
from liteferry.config.job import Job, SamplesSpec
from liteferry.errors import SamplesError
from liteferry.plan.job_files import look_for_checkpoints, refuse_missing_files
from liteferry.report.formats import printable, single_line

if TYPE_CHECKING:
    from liteferry.commands.disk_need import DiskNeed
    from liteferry.plan.model_plan import ModelPlan

_AT_ONCE = 4
_SHOWN = 5
_IGNORED_SHOWN = 8
FINE, SOME_WILL_FAIL = 0, 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """The forecast for a job: its samples by name, each checkpoint, the variants, the ignored files, and the disk that a run
    needs if an output folder was given.
    """

    samples: dict[str, Rows]
    models: list[Foreseen]
    variants: list[str]
    ignored: tuple[str, ...] = ()
    disk: DiskNeed | None = None

    @property
    def status(self) -> int:
        """The exit status: 1 if some checkpoint would not be blessed."""
        return SOME_WILL_FAIL if any(model.state.is_bad for model in self.models) else FINE

    def as_json(self) -> dict[str, Any]:
        """`{samples: {name: {rows, rows_in_files, shards, columns}, or {problem}}, models: [{model_id, kind, uri, refused, state,
        problems, unknown, notes, hints}], variants, ignored, disk}`.
        """
        return {
            "samples": {name: _samples(rows) for name, rows in self.samples.items()},
            "models": [
                {
                    "model_id": model.model_id,
                    "kind": model.kind,
                    "uri": model.uri,
                    "refused": list(model.refused),
                    "state": model.state.value,
                    "problems": [{"code": code, "message": message} for code, message in model.problems],
                    "unknown": list(model.unknowns),
                    "notes": list(model.notes),
                    "hints": list(model.hints),
                }
                for model in self.models
            ],
            "variants": self.variants,
            "ignored": list(self.ignored),
            "disk": self.disk.as_json() if self.disk else None,
        }


def check(job: Job, *, out: str | None = None, leave_out: str | None = None) -> Checked:
    """Predicts the results of a job.

    Args:
      out: the output folder; without it no model counts as already done.
      leave_out: a folder whose files are no checkpoints, for a caller that does not ask what is done; `out` is one, too.

    Raises:
      JobError: a pattern matches nothing, or modules or samples do not exist.
    """
    with readers.prepared(), concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        refuse_missing_files(job)
        found = look_for_checkpoints(job, out or leave_out)
        seen = pool.submit(look_into, job, found.checkpoints)  # other processes read the files: the threads mostly wait
        rows = dict(zip(job.samples, pool.map(_opened, job.samples.values()), strict=True))
        models = foresee(job, found.checkpoints, seen.result(), rows)
    disk = None
    if out is not None:
        to_do = _to_do(job, out)
        left = {plan.model_id for plan in to_do}
        models = [model if model.model_id in left else dataclasses.replace(model, state=State.DONE) for model in models]
        disk = _disk(to_do, out)
    return Checked(
        samples=rows,
        models=models,
        disk=disk,
        variants=[*(variant.value for variant in job.variants), *job.recipes],
        ignored=found.ignored,
    )


def _opened(spec: SamplesSpec) -> Rows:
    from liteferry.samples.headers import describe_contained
    from liteferry.samples.opening import open_samples

    try:
        return Rows(sample_set=open_samples(spec, describe=describe_contained))
    except SamplesError as error:
        return Rows(problem=(error.reason.code.value, error.reason.message))


def _to_do(job: Job, out: str) -> list[ModelPlan]:
    """The plans without a valid report from an earlier run. A checkpoint with one is done, whatever the forecast says."""
    from liteferry.output.finished import finished_report
    from liteferry.plan.fingerprints import fingerprint
    from liteferry.plan.planning import plan_models

    return [plan for plan in map(fingerprint, plan_models(job, out)) if finished_report(plan) is None]


def _disk(to_do: Sequence[ModelPlan], out: str) -> DiskNeed:
    from liteferry.commands.disk_need import disk_need
    from liteferry.sandbox.pool import available_cores

    return disk_need(to_do, out, processes=available_cores())


def _samples(rows: Rows) -> dict[str, Any]:
    found = rows.sample_set
    if found is None:
        return {"problem": rows.problem[1] if rows.problem else None}
    return {
        "rows": found.row_count,
        "rows_in_files": found.rows_in_files or found.row_count,
        "shards": len(found.shards),
        "columns": {name: {"dtype": facts.dtype, "shape": list(facts.shape)} for name, facts in found.columns.items()},
    }


def print_check(job: Job, *, out: str | None = None, as_json: bool = False) -> int:
    """Prints the forecast for every checkpoint, and the state of the samples. Returns the exit status."""
    checked = check(job, out=out)
    if as_json:
        print(json.dumps(checked.as_json(), indent=1))
        return checked.status
    for name, facts in checked.as_json()["samples"].items():
        _say(f"samples {name}: {facts['problem']}" if "problem" in facts else _rows_line(name, facts))
    width = max(len(model.model_id) for model in checked.models)
    for model in checked.models:
        _say(f"  {model.model_id:<{width}}  {model.kind:<18}  {model.state.value:<12}  {model.uri}")
        for line in _lines(model):
            _say(f"  {'':<{width}}  {line}")
    if checked.ignored:
        _say(ignored_line(checked.ignored))
    variants = checked.variants
    if checked.disk:
        print(checked.disk.in_words())
    print(f"{len(checked.models)} checkpoint(s) x {len(variants)} variant(s): {', '.join(variants)}")
    return checked.status


def ignored_line(ignored: Sequence[str]) -> str:
    """One line about matched files that are not checkpoints."""
    names = [single_line(path.rpartition("/")[2]) for path in ignored[:_IGNORED_SHOWN]]
    more = f" and {len(ignored) - _IGNORED_SHOWN} more" if len(ignored) > _IGNORED_SHOWN else ""
    return f"ignored, since they are no checkpoints by their names: {', '.join(names)}{more}"


def tell(models: Sequence[Foreseen]) -> None:
    """Prints the problems that a run will meet to standard error, one line each; of models that are ready, only hints."""
    for model in models:
        for line in _lines(model) if model.state.is_bad else _hints(model):
            told = lenient.text(f"{model.model_id}: {model.state.value}: {line}") or ""
            print(f"[check] {printable(told)}", file=sys.stderr)


def _rows_line(name: str, rows: dict[str, Any]) -> str:
    columns = ", ".join(f"{column} {about['dtype']}{about['shape']}" for column, about in rows["columns"].items())
    of_all = f" of {rows['rows_in_files']:,}" if rows["rows_in_files"] != rows["rows"] else ""
    return f"samples {name}: {rows['rows']:,}{of_all} rows in {rows['shards']} shard(s); {columns}"


def _lines(model: Foreseen) -> list[str]:
    refused = [f"refused: {what}" for what in model.refused[:_SHOWN]]
    problems = [f"{code}: {message}" for code, message in model.problems if message not in model.refused]
    return [*refused, *problems, *(f"unknown: {what}" for what in model.unknowns), *model.notes, *_hints(model)]


def _hints(model: Foreseen) -> list[str]:
    return [f"hint: {hint}" for hint in model.hints]


def _say(line: str) -> None:
    """Prints one line. File and column names may hold line ends or terminal control characters; both are replaced."""
    print(" ".join(printable(lenient.text(line) or "").splitlines()))
