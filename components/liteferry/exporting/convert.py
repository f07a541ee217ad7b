"""A traced model -> its .tflite files: lowered once; the variants are made from that one flatbuffer."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from liteferry import storage
from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.exporting.artifacts import Trace, first_rows
from liteferry.loading.model import LoadedModel
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.tflite import flatbuffer, held_quantized, lowering, quantize, tf_quantize
from liteferry.tflite.lowering import Lowered
from liteferry.types import Attempt, VariantFacts
from liteferry.version import __version__


def make_variants(plan: ModelPlan, trace: Trace, binding: Any) -> Iterator[VariantFacts]:
    """Writes the variants of a plan, and yields the facts about each.

    A variant may be yielded twice; the last one counts: a variant that the AI Edge quantizer refuses is tried again by
    TensorFlow's converter after all others are made, since that converter aborts on some models.
    """
    few = None if binding is None else first_rows(next(bound_rows.batches(plan, binding, shard_index=0)))
    content, lowered = lowering.lower(
        lowering.Source(model=trace.model, traced=trace.traced, rows=few),
        options=plan.lowering,
        sibling=trace.lowered,
        metadata=_file_metadata(plan, trace.model),
    )
    trace.lowered = lowered
    if content is None:
        for name in plan.variants:
            yield VariantFacts(variant=name, attempts=lowered.attempts, reason=lowered.attempts[-1].error)
        return

    @functools.cache
    def rows() -> quantize.Rows:
        return bound_rows.calibration_rows(plan, binding, batch=lowered.batch)

    refused: dict[str, Reason] = {}
    for name in plan.variants:
        try:
            made = quantize.make(name, content, rows=rows, options=plan.quantization, recipes=plan.recipes)
            quantizer = None if name == quantize.FLOAT32 else quantize.QUANTIZER
            yield _write(plan, name, made, _Made(lowered=lowered, attempts=lowered.attempts, quantizer=quantizer))
        except ModelError as error:
            yield VariantFacts(variant=name, attempts=lowered.attempts, reason=error.reason)
            if error.reason.code is ReasonCode.CONVERT_FAILED:
                refused[name] = error.reason
    source = tf_quantize.FloatFile(content=content, model=trace.model, lowered=lowered)
    for name, reason in refused.items():
        yield from _fall_back(plan, source, rows, name=name, reason=reason)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Made:
    """How a variant's file came about. `quantizer`: None for float32."""

    lowered: Lowered
    attempts: tuple[Attempt, ...]
    quantizer: str | None


def _fall_back(
    plan: ModelPlan, source: tf_quantize.FloatFile, rows: Callable[[], quantize.Rows], *, name: str, reason: Reason
) -> Iterator[VariantFacts]:
    lowered = source.lowered
    before = (*lowered.attempts, Attempt(lowering=f"{name} by {quantize.QUANTIZER}", error=reason))
    way = f"{name} by {tf_quantize.NAME}"
    lost = Reason(code=ReasonCode.CRASHED, stage=Stage.CONVERT, message=f"{tf_quantize.NAME} did not come back")
    yield VariantFacts(variant=name, attempts=(*before, Attempt(lowering=way, error=lost)), reason=_both(reason, lost))
    try:
        content = tf_quantize.make(name, source, rows=rows, options=plan.quantization)
        made = _Made(lowered=lowered, attempts=(*before, Attempt(lowering=way)), quantizer=tf_quantize.NAME)
        yield _write(plan, name, content, made)
    except ModelError as error:
        attempts = (*before, Attempt(lowering=way, error=error.reason))
        yield VariantFacts(variant=name, attempts=attempts, reason=_both(reason, error.reason))


def _both(first: Reason, second: Reason) -> Reason:
    return Reason(code=first.code, stage=first.stage, message=f"{first.message}; {second.message}")


def _file_metadata(plan: ModelPlan, model: LoadedModel) -> dict[str, Any]:
    """The metadata inside a .tflite file, which stays with every copy."""
    return {"checkpoint_digest": plan.digest, "model_id": plan.model_id, "oracle": model.oracle, "liteferry": __version__}


def _write(plan: ModelPlan, name: str, content: bytes, made: _Made) -> VariantFacts:
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
        contract=flatbuffer.read_contract(content),
        quantizer=made.quantizer,
        held=held_quantized.read(content),
        reason=_cannot_run_here(ops, made.lowered),
    )


def _cannot_run_here(ops: dict[str, int], lowered: Lowered) -> Reason | None:
    """Why nothing here can run the file, by its operators, however it was made; else None."""
    flex = sorted(name for name in ops if name.startswith("Flex"))
    if not flex:
        return None
    needs = f" The model {lowered.flex.message}" if lowered.flex else ""
    message = (
        f"holds Select TF ops ({', '.join(flex)}), which run only where TensorFlow's Flex library is linked in and not "
        f"here, so nothing is proven about it.{needs}"
    )
    return Reason(code=ReasonCode.NEEDS_FLEX, stage=Stage.CONVERT, message=message)
