"""Parity of any two artifacts on the same rows: each in a sandbox of its own, statistics and verdict as in the main job."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry import sandbox, storage
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.commands.compare import compare_side
from liteferry.commands.compare.compare_side import SideTask, read_answers, read_inputs
from liteferry.commands.compare.compared_row import ComparedRow
from liteferry.commands.compare.table import text_of
from liteferry.config.job import SamplesSpec
from liteferry.errors import JobError, ModelError, Reason, ReasonCode, Stage
from liteferry.evaluation.accumulator import StatsAccumulator
from liteferry.evaluation.verdict import Case, verdict
from liteferry.lenient import NONFINITE
from liteferry.loading.call_groups import Calls
from liteferry.loading.model import LoadSpec
from liteferry.parity.gate_limits import resolve_gates
from liteferry.parity.gates import Verdict
from liteferry.parity.output_stats import OutputStats
from liteferry.plan.fingerprints import files_of
from liteferry.plan.local_inputs import files_of_samples, readable_for_code
from liteferry.samples.headers import describe_contained
from liteferry.samples.local_copies import wanted_of, with_copies
from liteferry.samples.opening import open_samples
from liteferry.sandbox import SandboxSpec, scratch
from liteferry.sandbox.outcome import Limits
from liteferry.storage import local_cache
from liteferry.storage.local_cache import Copies, Wanted
from liteferry.tflite.quantize import FLOAT32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """The result of a comparison. `stats` are keyed by the reference's output names; `kind` is the variant whose default gates
    applied; `notes` are sentences about names, kinds and rows, from both sides.
    """

    stats: Mapping[str, OutputStats]
    verdict: Verdict
    kind: str
    notes: Sequence[str]
    row_count: int
    rows: Sequence[ComparedRow]

    @property
    def is_within(self) -> bool:
        """Whether the candidate is within every gate."""
        return self.verdict.is_blessed

    @property
    def reason(self) -> str | None:
        """Why it is not; None where it is."""
        return self.verdict.reason.message if self.verdict.reason else None

    def table(self) -> list[dict[str, Any]]:
        """One row for each gate: output, metric, observed, limit, is_within."""
        return [dataclasses.asdict(gate) for gate in self.verdict.gates]

    def __str__(self) -> str:
        return text_of(self.as_json(), self.rows)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def as_json(self) -> dict[str, Any]:
        """JSON-ready facts; `is_within` says whether every gate passes."""
        reason = self.verdict.reason
        return {
            "is_within": self.verdict.is_blessed,
            "gates_of": self.kind,
            "reason": {"code": reason.code.value, "message": reason.message} if reason else None,
            "row_count": self.row_count,
            "notes": list(self.notes),
            "parity": {name: stats.report() for name, stats in self.stats.items()},
            "worst_examples": [
                {"output": name, **example} for name, stats in self.stats.items() for example in stats.worst_examples()
            ],
            "gates": [dataclasses.asdict(gate) for gate in self.verdict.gates],
            "rows": [
                {
                    "id": row.id,
                    "row": row.row,
                    **{side: _plain(getattr(row, side)) for side in ("inputs", "reference", "candidate")},
                }
                for row in self.rows
            ],
        }


def compare(  # wide: public
    reference: str,
    candidate: str,
    spec: SamplesSpec,
    *,
    gates: Mapping[str, float | None] | None = None,
    rows: Sequence[str] = (),
    load: LoadSpec | None = None,
    limits: Limits | None = None,
    batch_size: int = 64,
) -> Compared:
    """Runs both artifacts on every row and compares their answers.

    Args:
      reference, candidate: a checkpoint, a SavedModel directory or a .tflite file, either of them.
      spec: the rows; `inputs` maps inputs of either side to columns.
      gates: metric -> limit, over the default gates of the candidate's kind; None removes one.
      rows: ids of rows whose values are wanted.

    Raises:
      JobError: names that do not match, a gate or row that is not there.
      ModelError: a side could not be loaded or run; the message begins with the side.
      SamplesError: the samples cannot be read.
    """
    _check_gates(gates or {})
    sample_set = open_samples(spec, describe=describe_contained)
    load = load or LoadSpec()
    sides = [Wanted(uris=tuple(files_of(uri))) for uri in (reference, candidate)]
    modules = tuple(module for module in load.modules if storage.is_remote(module))
    wanted = [*sides, *([Wanted(uris=modules)] if modules else []), *wanted_of(sample_set.shards)]
    with local_cache.lease(wanted) as copies, scratch.folder() as work:
        copies.raise_problems()
        load = dataclasses.replace(load, modules=tuple(copies.paths.get(module, module) for module in load.modules))
        common = SideTask(
            side="reference",
            path=os.path.abspath(copies.path(reference)),
            spec=spec,
            sample_set=with_copies(sample_set, copies.paths),
            batch_size=batch_size,
            load=load,
            folder=os.path.join(work, "reference"),
            rows=tuple(rows),
        )
        path, folder = os.path.abspath(copies.path(candidate)), os.path.join(work, "candidate")
        tasks = [common, dataclasses.replace(common, side="candidate", path=path, folder=folder, rows=())]
        for task in tasks:
            os.makedirs(task.folder)
        limits = limits or Limits(seconds=3600, memory_bytes=16 * 10**9)
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(lambda task: _run(task, limits, copies), tasks))
        return _compared(tasks, outcomes, gates or {})


def _compared(tasks: Sequence[SideTask], outcomes: Sequence[sandbox.Outcome], gates: Mapping[str, float | None]) -> Compared:
    """Reads what both sandboxes wrote, compares it and judges it. Raises as `compare` does."""
    spec, sample_set, rows = tasks[0].spec, tasks[0].sample_set, tasks[0].rows
    matched, notes = _match(outcomes, spec)
    for task, outcome in zip(tasks, outcomes, strict=True):
        _raise_for(task, outcome)
    compared, found, reason = _compare_answers(tasks, matched, rows, _calls(outcomes, matched))
    stats = compared.finish()
    kind = str(outcomes[1].results[0]["kind"])
    case = Case(
        candidate=kind,
        like=kind,
        expected_outputs=tuple(matched),
        statistics={name: one.stored() for name, one in stats.items()},
        gates={kind: dict(gates)},
        earlier=reason,
    )
    seen: Mapping[str, Any] = next((message["rows_seen"] for message in outcomes[0].results if "rows_seen" in message), {})
    return Compared(
        stats=stats,
        verdict=_verdict_on_flags(case),
        kind=kind,
        notes=[*notes, *_cautions(stats, seen.get("nonfinite_inputs", {}))],
        row_count=sample_set.row_count,
        rows=found,
    )


def _verdict_on_flags(case: Case) -> Verdict:
    """The verdict, worded for the command line: here gates come from flags, not from a job file."""
    judged = verdict(case)
    if judged.reason is None:
        return judged
    message = judged.reason.message.replace(f"gates.{case.candidate}.", "--gate ").replace(" in the job file", "")
    return dataclasses.replace(judged, reason=dataclasses.replace(judged.reason, message=message))


def _cautions(stats: Mapping[str, OutputStats], inputs: Mapping[str, int]) -> list[str]:
    """Sentences printed beside the verdict about things that the verdict does not cover."""
    answers = {name: one.nonfinite_reference for name, one in stats.items() if one.nonfinite_reference}
    return [
        *(f"{NONFINITE} in the sample rows: input {name!r}, {count:,} rows" for name, count in inputs.items()),
        *(f"{NONFINITE} in the reference: output {name!r}, {count:,} elements" for name, count in answers.items()),
    ]


def _run(task: SideTask, limits: Limits, copies: Copies) -> sandbox.Outcome:
    readable = [*files_of_checkpoint(task.path, task.load.links), *readable_for_code(task.load)]
    readable += files_of_samples(task.sample_set, task.spec)
    spec = SandboxSpec(
        flavor=task.flavor(),
        limits=limits,
        writable=[task.folder],
        readable=[path for path in readable if not storage.is_remote(path)],
    )
    outcome = sandbox.run(compare_side.run_side, task, spec)
    return outcome.translated(copies.in_uris)


def _raise_for(task: SideTask, outcome: sandbox.Outcome) -> None:
    reason = outcome.reason
    if reason is not None:
        message = reason.message.replace(f"samples.{compare_side.SAMPLES}.", "--")
        raise ModelError(reason.code, reason.stage, f"{task.side} {task.path}: {message}")


def _check_gates(gates: Mapping[str, float | None]) -> None:
    try:
        resolve_gates(FLOAT32, {FLOAT32: dict(gates)})
    except ValueError as error:
        message = str(error).replace(f"gates.{FLOAT32}.", "--gate ")
        raise JobError([message], source="command line") from error


def _match(outcomes: Sequence[sandbox.Outcome], spec: SamplesSpec) -> tuple[dict[str, str], list[str]]:
    """Reference's output name -> candidate's, and notes about the matching. Empty while a side has not yet reported its names."""
    if not all(outcome.results for outcome in outcomes):
        return {}, []
    reference, candidate = (outcome.results[0] for outcome in outcomes)
    notes = [f"reference: {note}" for note in reference["notes"]] + [f"candidate: {note}" for note in candidate["notes"]]
    problems: list[str] = []
    matched: dict[str, dict[str, str]] = {}
    for kind in ("inputs", "outputs"):
        left, right = reference[kind], candidate[kind]
        if set(left) == set(right):
            matched[kind] = {name: name for name in left}
        elif len(left) == len(right) == 1:
            matched[kind] = {left[0]: right[0]}
            notes.append(f"matched the only {kind[:-1]} of each side: {left[0]!r} is {right[0]!r}")
        else:
            both = f"the reference has {', '.join(map(repr, left))}, the candidate {', '.join(map(repr, right))}"
            problems.append(f"{kind}: {both}; names that differ are matched only where there is one of them on each side")
    unknown = [name for name in spec.inputs if name not in (*reference["inputs"], *candidate["inputs"])]
    problems += [f"--inputs: neither side has an input {name!r}" for name in unknown]
    if problems:
        raise JobError(problems, source="compare")
    return matched["outputs"], notes


def _calls(outcomes: Sequence[sandbox.Outcome], matched: Mapping[str, str]) -> Calls:
    """Decides how both sides take rows. An output that is one answer per call on either side is compared per call."""
    reference, candidate = (outcome.results[1] for outcome in outcomes)
    names = [name for name, theirs in matched.items() if name in reference["per_call"] or theirs in candidate["per_call"]]
    return Calls(batch=reference["batch"], per_call=tuple(names))


def _compare_answers(
    tasks: Sequence[SideTask], matched: Mapping[str, str], rows: Sequence[str], calls: Calls
) -> tuple[StatsAccumulator, list[ComparedRow], Reason | None]:
    """Compares both sides batch by batch. Returns a reason where they cannot be compared at all, for
    example where shapes differ.
    """
    comparison = StatsAccumulator(calls=calls)
    wanted, found = set(rows), []
    of_rows = matched.keys() - set(calls.without_rows())
    reason = None
    for expected, other in zip(*(read_answers(task.folder) for task in tasks), strict=True):
        if expected.ids != other.ids:
            raise ModelError(ReasonCode.INTERNAL, Stage.EVALUATE, "the two sides were run on rows in different order")
        observed = {name: other.outputs[theirs] for name, theirs in matched.items()}
        if reason is None:
            try:
                comparison.add(expected.outputs, observed, ids=expected.ids, rows=expected.rows)
            except ModelError as error:
                reason = error.reason
        for place in [place for place, name in enumerate(expected.ids) if name in wanted]:
            found.append(
                ComparedRow(
                    id=expected.ids[place],
                    row=int(expected.rows[place]),
                    inputs=read_inputs(tasks[0].folder, int(expected.rows[place])),
                    reference={name: value[place] for name, value in expected.outputs.items() if name in of_rows},
                    candidate={name: value[place] for name, value in observed.items() if name in of_rows},
                )
            )
    missing = [name for name in rows if name not in {row.id for row in found}]
    if missing:
        raise JobError([f"--rows: the samples have no row {name!r}" for name in missing], source="command line")
    return comparison, found, reason


def _plain(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Nested lists; bytes become text, non-finite numbers become their names."""
    return {name: _plain_value(np.asarray(value).tolist()) for name, value in arrays.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, complex):
        return [_plain_value(value.real), _plain_value(value.imag)]
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)
