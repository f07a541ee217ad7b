"""One checkpoint -> SavedModel and TFLite variants, in a sandbox. The stage calls `export_isolated`; `one_model.export_models`
runs in the child.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Generator, Sequence
from typing import Any

from liteferry.errors import Stage
from liteferry.exporting import messages, second_opinion
from liteferry.exporting.messages import Message, ModelEnded, ModelLearned, VariantMade
from liteferry.exporting.one_model import export_models, sample_columns
from liteferry.exporting.work_folders import make_room
from liteferry.json_records import decode
from liteferry.plan import bound_rows
from liteferry.plan.local_inputs import InputNeeds, LocalInputs, hold_inputs, storage_reason
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import Flavor, Outcome, SandboxSpec
from liteferry.sandbox.units import Unit
from liteferry.storage.local_cache import NoRoomError
from liteferry.types import ExportedModel, VariantFacts

__all__ = ["Units", "export_isolated", "export_models", "exported_in_turn", "sample_columns"]

Exports = Generator[ExportedModel, None, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """The units that an export runs in sandboxes. A test passes units with a planted fault."""

    export: Unit = export_models
    second_opinion: Unit = second_opinion.give


def export_isolated(plans: Sequence[ModelPlan], *, units: Units | None = None) -> list[ExportedModel]:
    """`exported_in_turn`, all of them."""
    return list(exported_in_turn(plans, units=units))


def exported_in_turn(plans: Sequence[ModelPlan], *, units: Units | None = None) -> Exports:
    """Exports one model, or siblings in one sandbox, each into its staging directory. Yields each as soon as it is done, in the
    order of the plans, with its second opinion where it needs one; meanwhile the sandbox waits. Never raises for an error of a
    model or a store.

    When the process dies, what was yielded stands, the model that it worked on is exported again in a process of its own, and
    the others go on together in another one. So only the model that crashes fails.
    """
    units = units or Units()
    try:
        with hold_inputs(plans, _needs) as here:
            yield from _in_turn(here, units)
    except NoRoomError as error:
        if len(plans) == 1:
            yield ExportedModel(reason=storage_reason(error, Stage.LOAD))
        else:
            for plan in plans:
                yield from exported_in_turn([plan], units=units)


def _needs(plan: ModelPlan) -> InputNeeds:
    """The inputs of an export: every export reads the first shard; with one shard it also runs the reference."""
    return InputNeeds(checkpoint=True, code=True, shards=(0,) if plan.samples.sample_set else ())


def _in_turn(here: LocalInputs, units: Units) -> Exports:
    opinions = second_opinion.Opinions(here, unit=units.second_opinion)
    with contextlib.closing(_each([plan for plan in here.plans if plan.model_id not in here.problems], here, units)) as exported:
        for plan in here.plans:
            problem = here.problems.get(plan.model_id)
            yield ExportedModel(reason=problem) if problem else opinions.on(plan, next(exported))


def _each(plans: Sequence[ModelPlan], here: LocalInputs, units: Units) -> Exports:
    left = list(plans)
    while len(left) > 1:
        with contextlib.closing(_together(tuple(left), here, units)) as together:
            for exported in together:
                del left[0]
                yield exported
        if left:  # the process has died
            yield _alone(left.pop(0), here, units)
    for plan in left:
        yield _alone(plan, here, units)


def _together(plans: tuple[ModelPlan, ...], here: LocalInputs, units: Units) -> Exports:
    """Siblings one after the other, until the last one or the end of their process."""
    make_room(plans)
    with here.session(units.export, plans, _spec(plans)) as process:
        for plan in plans:
            outcome = process.next(plan)
            own = [one for one in messages.read(outcome.results) if one.model_id == plan.model_id]
            ended = next((one for one in own if isinstance(one, ModelEnded)), None)
            if ended is None or outcome.is_out_of_disk:
                return
            # A sibling whose file may have been read wrongly is read again alone, before its verdict stands.
            misread = ended.failure is not None and ended.failure.misread
            yield _alone(plan, here, units) if misread else _assemble(plan, own, outcome)
            if not process.is_waiting:
                return


def _alone(plan: ModelPlan, here: LocalInputs, units: Units) -> ExportedModel:
    make_room([plan])
    outcome = here.run(units.export, (plan,), _spec([plan]), before_retry=functools.partial(make_room, [plan]))
    if outcome.is_out_of_disk:  # finished artifacts lie among files that must be removed
        make_room([plan])
        outcome = dataclasses.replace(outcome, results=())
    return _assemble(plan, [one for one in messages.read(outcome.results) if one.model_id == plan.model_id], outcome)


def _spec(plans: Sequence[ModelPlan]) -> SandboxSpec:
    return SandboxSpec(
        flavor=Flavor.KERAS,
        limits=plans[0].limits,
        writable=[folder for plan in plans for folder in bound_rows.work_directories(plan)],
        network=plans[0].load.may_use_network,
    )


def _not_timed_s(received: Sequence[Message], seconds: float) -> float:
    """A process's overhead in seconds, which belongs to no step: start and end, inspecting files, handing over."""
    timed = [one.facts["timings_s"] for one in received if isinstance(one, ModelLearned) and "timings_s" in one.facts]
    return max(0.0, seconds - sum(timed[-1].values() if timed else ()))


def _assemble(plan: ModelPlan, received: Sequence[Message], outcome: Outcome) -> ExportedModel:
    facts: dict[str, Any] = {}
    made: dict[str, VariantFacts] = {}
    reason, own_peak = outcome.reason, None
    for one in received:
        if isinstance(one, ModelLearned):
            facts.update(one.facts)
        elif isinstance(one, VariantMade):
            made[one.variant.variant] = one.variant
        else:
            reason, own_peak = one.failure.reason if one.failure else None, one.peak_memory_bytes
    exported = decode(ExportedModel, facts)
    overhead = round(_not_timed_s(received, outcome.seconds), 3)
    exported = dataclasses.replace(exported, timings_s={**exported.timings_s, "process": overhead})
    if outcome.is_unsafe:  # whatever the process said of itself
        return dataclasses.replace(exported, reason=outcome.reason, peak_memory_bytes=own_peak or outcome.peak_memory_bytes)
    if exported.saved_model is not None and reason is not None and reason.stage is Stage.CONVERT:
        # The conversion died, the SavedModel stands: the variants that were not made get the reason.
        for name in plan.variants:
            made.setdefault(name, VariantFacts(variant=name, attempts=(), reason=reason))
        reason = None
    return dataclasses.replace(
        exported,
        variants={name: made[name] for name in plan.variants if name in made},
        reason=reason,
        peak_memory_bytes=own_peak or outcome.peak_memory_bytes,
    )
