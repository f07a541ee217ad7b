"""Repeats measurements (costs and the noise floor) that are missing because a process died after its last result, each in a
process of its own. So a report does not depend on whether that process survived.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from liteferry.evaluation.measure import Units
from liteferry.evaluation.messages import CostMeasured, Message, NoiseMeasured, read
from liteferry.evaluation.results import SAVED_MODEL, Evaluation, EvaluationTask, evaluation_of
from liteferry.evaluation.targets import names
from liteferry.parity import noise
from liteferry.plan.local_inputs import LocalInputs
from liteferry.sandbox import Flavor, Outcome, SandboxSpec
from liteferry.sandbox.units import Unit


def measured_again(
    task: EvaluationTask, here: LocalInputs, evaluation: Evaluation, received: Sequence[Message], *, units: Units
) -> Evaluation:
    """The evaluation of the messages `received`, with the missing measurements made.

    Costs that cannot be measured stay missing. Without its noise floor, float32 would be judged by other limits. If the process
    that measures it is killed as well, or meets another transient error, that becomes float32's reason, and the next run tries
    the model again. If the file itself crashes it, as it would in every run, the default limits hold and a warning says so.
    """
    outcomes, failures, warnings = [], evaluation.failures(), []
    ran = [name for name in task.candidates if name != SAVED_MODEL and name not in failures and not names.is_on_a_target(name)]
    has_cost = {one.candidate for one in received if isinstance(one, CostMeasured)}
    costly = [name for name in ran if task.plan.latency and name not in has_cost]
    if costly and task.shard_index == 0:
        outcomes.append(_run(units.costs, task, here, costly))
    if noise.FLOAT32 in ran and task.shard_index == 0 and not any(isinstance(one, NoiseMeasured) for one in received):
        outcome = _run(units.kernels, task, here, [noise.FLOAT32])
        outcomes.append(outcome)
        reason = outcome.reason
        if reason is not None and reason.code.is_transient:
            failures[noise.FLOAT32] = dataclasses.replace(evaluation.candidates[noise.FLOAT32], reason=reason)
        elif reason is not None:
            warnings.append(f"the noise floor of float32 is not known, its default gates stand: {reason.message}")
    return dataclasses.replace(
        evaluation_of(
            task,
            [*received, *(message for outcome in outcomes for message in read(outcome.results))],
            failures=failures,
            seconds=evaluation.seconds + sum(outcome.seconds for outcome in outcomes),
            peak_memory_bytes=max([evaluation.peak_memory_bytes, *(outcome.peak_memory_bytes for outcome in outcomes)]),
        ),
        warnings=tuple(warnings),
    )


def _run(unit: Unit, task: EvaluationTask, here: LocalInputs, names: Sequence[str]) -> Outcome:
    of_names = dataclasses.replace(task, candidates={name: task.candidates[name] for name in names})
    return here.run(unit, of_names, SandboxSpec(flavor=Flavor.CLEAN, limits=task.plan.limits))
