"""Three-way parity of one exported model: reference against SavedModel and every variant, over all rows, each in a sandbox.

The stage calls `evaluate_isolated`; the code that runs in the sandboxes is in `liteferry.evaluation.measure`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence

from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.evaluation import messages
from liteferry.evaluation.measure import Units
from liteferry.evaluation.remeasure import measured_again
from liteferry.evaluation.results import (
    SAVED_MODEL,
    CandidateResult,
    Evaluation,
    EvaluationTask,
    evaluation_of,
    results_of,
)
from liteferry.evaluation.targets import names
from liteferry.evaluation.targets.looks import LookTask, run_looks
from liteferry.plan import bound_rows
from liteferry.plan.local_inputs import InputNeeds, LocalInputs, Pieces, hold_inputs, storage_reason
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import Flavor, Outcome, SandboxSpec
from liteferry.storage.local_cache import NoRoomError
from liteferry.types import ExportedModel

_UNITS = Units()


def candidates_of(plan: ModelPlan, exported: ExportedModel) -> dict[str, str]:
    """The artifacts that must be compared with the checkpoint: name -> path in staging."""
    paths = {}
    if exported.saved_model is not None:
        paths[SAVED_MODEL] = os.path.join(plan.staging_directory(), exported.saved_model.path)
    for name, variant in exported.variants.items():
        if variant.path is not None and variant.reason is None:
            paths[name] = os.path.join(plan.staging_directory(), variant.path)
    return paths


def shard_tasks(plan: ModelPlan, exported: ExportedModel) -> list[EvaluationTask]:
    """The units of evaluation of one model; empty when there is nothing to compare, or no rows."""
    if (
        exported.saved_model is None
        or exported.samples_problem is not None
        or plan.samples.sample_set is None
        or exported.reason is not None
    ):
        return []
    return [
        EvaluationTask(
            plan=plan,
            signature=exported.saved_model.proven,
            renamed_inputs=exported.saved_model.renamed_inputs,
            shard_index=index,
            candidates={**candidates_of(plan, exported), **_on_microcontroller(plan, exported)},
            per_call=exported.saved_model.per_call_outputs,
            has_twin=exported.twin is not None,
            twin_rounds_inputs=exported.twin is not None and exported.twin.rounds_inputs,
        )
        for index in range(len(plan.samples.sample_set.shards))
    ]


def _on_microcontroller(plan: ModelPlan, exported: ExportedModel) -> dict[str, str]:
    """Every .tflite file a second time, to run it as on a microcontroller, if the job has such a target."""
    if names.MICROCONTROLLER not in plan.targets:
        return {}
    return {
        names.on(name, names.MICROCONTROLLER): path for name, path in candidates_of(plan, exported).items() if name != SAVED_MODEL
    }


def split_by_shards(family: Sequence[tuple[ModelPlan, ExportedModel]]) -> tuple[list[EvaluationTask], list[EvaluationTask]]:
    """The family's units of evaluation: the ones whose reference the export has run, which share a process, and all others."""
    together: list[EvaluationTask] = []
    apart: list[EvaluationTask] = []
    for plan, exported in family:
        (together if exported.referenced else apart).extend(shard_tasks(plan, exported))
    return together, apart


@contextlib.contextmanager
def siblings_in_turn(plans: Sequence[ModelPlan], *, units: Units = _UNITS) -> Iterator[Callable[[EvaluationTask], Evaluation]]:
    """A function that evaluates models of one family, whose references are on disk, when they are there, one after the other in
    one clean process. The process loads the graph of their SavedModels once, and waits between two calls. If it dies, the model
    that it worked on is evaluated in a process of its own, and the next one begins another.

    Inputs are held from the first call on: the export of the same models, which holds the same rows and more, has them by then.
    Nobody waits for room in the cache while holding some of it.
    """
    with contextlib.ExitStack() as held:

        @functools.cache
        def evaluator() -> Callable[[EvaluationTask], Evaluation]:
            with contextlib.suppress(NoRoomError):
                here = held.enter_context(hold_inputs(plans, lambda _: InputNeeds(shards=(0,))))
                if not here.problems:
                    return held.enter_context(contextlib.closing(_InTurn(here, units))).evaluate
            return functools.partial(evaluate_isolated, referenced=True, units=units)

        yield lambda task: evaluator()(task)


class _InTurn:
    def __init__(self, here: LocalInputs, units: Units) -> None:
        self._here, self._units = here, units
        self._plans = {plan.model_id: plan for plan in here.plans}
        self._process: Pieces | None = None
        self._ending = contextlib.ExitStack()

    def close(self) -> None:
        self._process = None
        self._ending.close()

    def evaluate(self, task: EvaluationTask) -> Evaluation:
        task = dataclasses.replace(task, plan=self._plans[task.plan.model_id])
        outcome = self._outcome(task)
        if outcome.is_unsafe:
            return _refused(outcome)
        received = [one for one in messages.read(outcome.results) if one.model_id == task.plan.model_id]
        if results_of(received).keys() != task.candidates.keys():
            return _evaluate_one(task, self._here, self._units, referenced=True)
        own_peaks = [one.peak_memory_bytes or 0 for one in received if isinstance(one, messages.PeakMeasured)]
        peak = max(own_peaks, default=0) or outcome.peak_memory_bytes
        evaluation = evaluation_of(task, received, seconds=outcome.seconds, peak_memory_bytes=peak)
        if outcome.error is not None:
            evaluation = measured_again(task, self._here, evaluation, received, units=self._units)
        return _looked_at(task, self._here, evaluation)

    def _outcome(self, task: EvaluationTask) -> Outcome:
        if self._process is None:
            writable = [folder for plan in self._here.plans for folder in bound_rows.work_directories(plan)]
            spec = SandboxSpec(flavor=Flavor.CLEAN, limits=task.plan.limits, writable=writable)
            process = self._here.session(self._units.candidates_in_turn, task, spec)
            self._process = self._ending.enter_context(process)
            outcome = self._process.next(task.plan)
        else:
            outcome = self._process.next(task.plan, task)
        if not self._process.is_waiting:
            self.close()
        return outcome


def evaluate_siblings_isolated(tasks: Sequence[EvaluationTask], *, units: Units = _UNITS) -> list[Evaluation]:
    """Evaluates models of one family, whose references are on disk, all of them; see `siblings_in_turn`."""
    if len(tasks) == 1:
        return [evaluate_isolated(tasks[0], referenced=True, units=units)]
    with siblings_in_turn([task.plan for task in tasks], units=units) as evaluate:
        return [evaluate(task) for task in tasks]


def evaluate_isolated(task: EvaluationTask, *, referenced: bool, units: Units = _UNITS) -> Evaluation:
    """Evaluates one shard: first the reference, where it is not on disk yet, then all candidates in one clean process.

    When that process crashes, every candidate without a result is run in a process of its own, so that only the candidate that
    crashes fails.
    """
    needs = InputNeeds(checkpoint=not referenced, code=not referenced, shards=(task.shard_index,))
    try:
        with hold_inputs([task.plan], lambda _: needs) as here:
            for reason in here.problems.values():
                return Evaluation(candidates={}, reason=reason)
            return _evaluate_one(dataclasses.replace(task, plan=here.plans[0]), here, units, referenced=referenced)
    except NoRoomError as error:
        return Evaluation(candidates={}, reason=storage_reason(error, Stage.SAMPLES))


def _evaluate_one(task: EvaluationTask, here: LocalInputs, units: Units, *, referenced: bool) -> Evaluation:
    seconds, peak = 0.0, 0
    writable = bound_rows.work_directories(task.plan)
    clean = SandboxSpec(flavor=Flavor.CLEAN, limits=task.plan.limits, writable=writable)
    if not referenced:
        spec = dataclasses.replace(clean, flavor=Flavor.KERAS, network=task.plan.load.may_use_network)
        outcome = here.run(units.reference, task, spec)
        seconds, peak = outcome.seconds, outcome.peak_memory_bytes
        if outcome.error is not None:
            return Evaluation(candidates={}, reason=outcome.reason, seconds=seconds, peak_memory_bytes=peak)
    together = here.run(units.candidates, task, clean)
    if together.is_unsafe:
        return _refused(together)
    received, failures = messages.read(together.results), {}
    seconds, peak = seconds + together.seconds, max(peak, together.peak_memory_bytes)
    for name in task.candidates.keys() - results_of(received).keys():
        alone = dataclasses.replace(task, candidates={name: task.candidates[name]})
        outcome = here.run(units.candidates, alone, clean)
        lost = Reason(code=ReasonCode.INTERNAL, stage=Stage.EVALUATE, message="the evaluating process ended without an answer")
        again = messages.read(outcome.results)
        if name not in results_of(again):
            failures[name] = CandidateResult(stats={}, reason=outcome.reason or lost)
        received += again
        seconds, peak = seconds + outcome.seconds, max(peak, outcome.peak_memory_bytes)
    evaluation = evaluation_of(task, received, failures=failures, seconds=seconds, peak_memory_bytes=peak)
    if together.error is not None:
        evaluation = measured_again(task, here, evaluation, received, units=units)
    return _looked_at(task, here, evaluation)


def _refused(outcome: Outcome) -> Evaluation:
    return Evaluation(candidates={}, reason=outcome.reason, seconds=outcome.seconds, peak_memory_bytes=outcome.peak_memory_bytes)


def _looked_at(task: EvaluationTask, here: LocalInputs, evaluation: Evaluation) -> Evaluation:
    """Adds the compilers' analysis of every file, for targets that cannot be run here. Each analysis runs in a process of its
    own: compilers are third-party code, and Vela was seen to crash with SIGFPE.
    """
    targets = tuple(filter(names.is_looked_at, task.plan.targets))
    paths = {name: path for name, path in task.candidates.items() if name != SAVED_MODEL and not names.is_on_a_target(name)}
    if not targets or not paths or task.shard_index != 0:
        return evaluation
    spec = SandboxSpec(flavor=Flavor.CLEAN, limits=task.plan.limits)
    looks, seconds = {}, evaluation.seconds
    for (name, path), target in itertools.product(paths.items(), targets):
        outcome = here.run(run_looks, LookTask(paths={name: path}, targets=(target,)), spec)
        why = outcome.reason.message if outcome.reason else "the process that analyses files gave no result"
        looks[name, target] = outcome.results[0]["look"] if outcome.results else {"fits": False, "why": why}
        seconds += outcome.seconds
    return dataclasses.replace(evaluation, looks=looks, seconds=seconds)
