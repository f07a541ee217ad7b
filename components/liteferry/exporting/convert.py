"""A traced model -> its .tflite files: lowered once; the variants are made from that one flatbuffer."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any

from liteferry import storage
from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.exporting import auto_variant, other_signatures, variant_steps
from liteferry.exporting.traces import Trace, first_rows
from liteferry.loading import together
from liteferry.loading.float_twin import as_the_twin_takes_them
from liteferry.loading.model import LoadedModel
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.tflite import (
    flatbuffer,
    held_quantized,
    ladder,
    lowering,
    more_signatures,
    public_metadata,
    quantize,
    rewriting,
    tf_quantize,
)
from liteferry.tflite.lowering import Lowered
from liteferry.tflite.trial import Trial
from liteferry.types import Attempt, VariantFacts
from liteferry.version import __version__


def make_variants(plan: ModelPlan, trace: Trace, binding: Any) -> Iterator[VariantFacts]:
    """Writes the variants of a plan, and yields the facts about each.

    A variant may be yielded twice; the last one counts: a variant that the AI Edge quantizer refuses, or makes with errors far
    above its gates, is tried again with TensorFlow's converter after all others were made, since that converter aborts on some
    models.
    """
    if trace.apart is not None:
        yield from (VariantFacts(variant=name, attempts=(), reason=trace.apart) for name in plan.variants)
        return
    few = None if binding is None else _first_rows(plan, trace, binding)
    content, lowered = lowering.lower(
        lowering.Source(model=trace.model, traced=trace.traced, rows=few, together=trace.together),
        options=plan.lowering,
        sibling=trace.lowered,
        metadata=_file_metadata(plan, trace),
    )
    trace.lowered = lowered
    plan = _by_names_of_files(plan, trace)
    if content is None:
        yield from _none(plan, trace.model, lowered)
        return

    @functools.cache
    def rows() -> quantize.Rows:
        found = bound_rows.calibration_rows(plan, binding, batch=lowered.batch)
        return [as_the_twin_takes_them(batch, trace.proven.signature) for batch in found]

    source = variant_steps.Source(
        file=tf_quantize.FloatFile(content=content, model=trace.model, lowered=lowered),
        traced=trace.traced,
        rows=rows,
        options=plan.quantization,
        recipes=plan.recipes,
    )
    open_ends: list[ladder.Climb] = []
    for name in plan.variants:
        if name == auto_variant.NAME:
            yield _found_by_auto(plan, trace, binding, source)
            continue
        if name == quantize.FLOAT32:
            yield _write(plan, name, content, _Made(lowered=lowered, attempts=lowered.attempts, quantizer=None))
            continue
        climb = ladder.climb(name, variant_steps.first(source, name), _trial(plan, trace, binding, lowered, name))
        yield _facts(plan, climb, lowered)
        if climb.may_go_on():
            open_ends.append(climb)
    for climb in open_ends:
        yield from _by_tensorflow(plan, source, climb, _trial(plan, trace, binding, lowered, climb.variant))


def _none(plan: ModelPlan, model: LoadedModel, lowered: Lowered) -> Iterator[VariantFacts]:
    """Facts of the variants of a model that cannot be lowered; repeated with advice if another signature of the SavedModel can
    be lowered.
    """
    reason = lowered.attempts[-1].error
    for name in plan.variants:
        yield VariantFacts(variant=name, attempts=lowered.attempts, reason=reason)
    if plan.variants and reason is not None and other_signatures.may_help(model, reason):
        advice = other_signatures.advice(model, plan.lowering)
        if advice is not None:
            told = dataclasses.replace(reason, message=f"{reason.message.rstrip('.: ')}. {advice}")
            for name in plan.variants:
                yield VariantFacts(variant=name, attempts=lowered.attempts, reason=told)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Made:
    """How a variant's file was made. `quantizer`: None for float32."""

    lowered: Lowered
    attempts: tuple[Attempt, ...]
    quantizer: str | None


def _found_by_auto(plan: ModelPlan, trace: Trace, binding: Any, source: variant_steps.Source) -> VariantFacts:
    lowered = source.file.lowered
    try:
        content, told = auto_variant.search(plan, trace, binding, source)
    except ModelError as error:
        return VariantFacts(variant=auto_variant.NAME, attempts=lowered.attempts, reason=error.reason)
    written = _write(
        plan,
        auto_variant.NAME,
        content,
        _Made(
            lowered=lowered,
            attempts=lowered.attempts,
            quantizer=tf_quantize.NAME if told["trained_ranges"] else quantize.QUANTIZER,
        ),
    )
    return dataclasses.replace(written, auto=told)


def _by_tensorflow(
    plan: ModelPlan, source: variant_steps.Source, climb: ladder.Climb, trial: Trial | None
) -> Iterator[VariantFacts]:
    """Tries the last ways, which may abort; the report has a preliminary entry in case they do."""
    steps = variant_steps.last(source, climb.variant)
    for step in steps:
        gone = ladder.lost(step.name, step.quantizer)
        assert gone.error is not None
        told = dataclasses.replace(climb, attempts=(*climb.attempts, gone), reasons=(*climb.reasons, gone.error))
        yield _facts(plan, told, source.file.lowered)
        climb = ladder.climb(climb.variant, [step], trial, before=climb)
        if climb.holds:
            break
    if steps:
        yield _facts(plan, climb, source.file.lowered)


def _first_rows(plan: ModelPlan, trace: Trace, binding: Any) -> dict[str, Any]:
    rows = first_rows(next(bound_rows.batches(plan, binding, shard_index=0)))
    return as_the_twin_takes_them(rows, trace.proven.signature)


def _trial(plan: ModelPlan, trace: Trace, binding: Any, lowered: Lowered, name: str) -> Trial | None:
    """A few rows for the trial of a variant; one call's worth if only its weights change, since these variants rarely fail."""
    if binding is None or lowered.flex is not None:
        return None
    rows = _first_rows(plan, trace, binding)
    if name not in quantize.FRAGILE and name not in plan.recipes:
        rows = {key: value[: lowered.batch or 1] for key, value in rows.items()}
    return Trial(
        rows=rows,
        expected=trace.proven.run(rows),
        per_call=trace.proven.calls.per_call,
        gates=plan.gates,
        like={recipe: plan.gates_like(recipe) for recipe in plan.recipes},
    )


def _facts(plan: ModelPlan, climb: ladder.Climb, lowered: Lowered) -> VariantFacts:
    """Writes a variant's file and returns its facts. `attempts` lists how the model was lowered and, unless the variant's first
    way succeeded, every way that was tried.
    """
    attempts = lowered.attempts if len(climb.attempts) == 1 and climb.holds else (*lowered.attempts, *climb.attempts)
    if climb.content is None:
        return VariantFacts(variant=climb.variant, attempts=attempts, reason=climb.reason)
    return _write(plan, climb.variant, climb.content, _Made(lowered=lowered, attempts=attempts, quantizer=climb.quantizer))


def _file_metadata(plan: ModelPlan, trace: Trace) -> dict[str, Any]:
    """The metadata inside a .tflite file, which stays with every copy."""
    several = {} if trace.together is None else {together.KEY: trace.together.names}
    origin = {"checkpoint_digest": plan.digest, "model_id": plan.model_id, "oracle": trace.model.oracle}
    return {**origin, "liteferry": __version__, **several}


def _by_names_of_files(plan: ModelPlan, trace: Trace) -> ModelPlan:
    """The plan whose TFLite Metadata has the names that the artifacts carry, where those differ from the model's own."""
    return dataclasses.replace(plan, file_facts=plan.file_facts and plan.file_facts.mapped(names=trace.traced.renamed, paths={}))


def _with_public_metadata(plan: ModelPlan, content: bytes) -> bytes:
    if plan.file_facts is None:
        return content
    try:
        return public_metadata.embed(content, plan.file_facts)
    except (ValueError, OSError) as error:
        raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"tflite_metadata: {error}") from error


def _write(plan: ModelPlan, name: str, content: bytes, made: _Made) -> VariantFacts:
    if plan.tflite_signatures:
        content = rewriting.with_shared_constants(content)
    content = _with_public_metadata(plan, content)
    relative = os.path.join("tflite", f"{name}.tflite")
    storage.write_bytes(os.path.join(plan.staging_directory(), relative), content)
    ops = flatbuffer.count_operators(content)
    return VariantFacts(
        variant=name,
        attempts=made.attempts,
        path=relative,
        bytes=len(content),
        batch=made.lowered.batch,
        ops=ops,
        weights=flatbuffer.count_weights(content),
        contract=more_signatures.contract(content),
        quantizer=made.quantizer,
        held=held_quantized.read(content),
        reason=_cannot_run_here(ops, made.lowered),
    )


def _cannot_run_here(ops: dict[str, int], lowered: Lowered) -> Reason | None:
    """Why no runtime here can run the file, judged by its operators; else None."""
    flex = sorted(name for name in ops if name.startswith("Flex"))
    if not flex:
        return None
    needs = f" The model {lowered.flex.message}" if lowered.flex else ""
    message = (
        f"holds Select TF ops ({', '.join(flex)}), which run only where TensorFlow's Flex library is linked in and not "
        f"here, so nothing is proven about it.{needs}"
    )
    return Reason(code=ReasonCode.NEEDS_FLEX, stage=Stage.CONVERT, message=message)
