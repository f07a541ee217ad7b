"""A checkpoint's inference graph with what belongs to it: more signatures, the float32 twin, what siblings share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.exporting import saved_model, sibling_weights, signatures
from liteferry.loading import float_twin, together, tracing
from liteferry.loading.model import LoadedModel
from liteferry.loading.together import Together
from liteferry.loading.tracing import TracedModel
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.siblings import SavedModelTemplate
from liteferry.samples.binding import Binding
from liteferry.tflite.lowering import Lowered
from liteferry.types import Signature, TwinFacts

_WELL_WITHIN = 0.5  # of a limit: other rows are farther off than the first
_FEW_ROWS = 8  # randomness, values fixed during tracing and losses in lowering show on any row


@dataclasses.dataclass
class Trace:
    """The results of the first sibling that the others reuse. `more_signatures`: ConcreteFunctions besides serving_default.
    `leader`: the first one's model_id. `weights`: None where nothing can be shared. `twin`: see `float_twin`; `auto_mix`: the
    mix that `auto` found for the first sibling. `lowered`: how the first sibling was lowered.
    `together`: the signatures that the .tflite files hold, if more than the first; `apart`: why they cannot, if the job asks.
    """

    model: LoadedModel
    traced: TracedModel
    leader: str
    more_signatures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: sibling_weights.Weights | None = None
    template: SavedModelTemplate | None = None
    lowered: Lowered | None = None
    twin: Trace | None = None
    auto_mix: Mapping[str, str] | None = None
    together: Together | None = None
    apart: Reason | None = None

    @property
    def proven(self) -> TracedModel:
        """What rows are bound to and artifacts are compared with: the signature, or all that the files hold."""
        return self.traced if self.together is None else self.together.traced

    @property
    def for_files(self) -> Trace:
        """The model that .tflite files are made from: the float32 twin of a model that computes in another format, else the
        model.
        """
        return self.twin or self


def add_twin(plan: ModelPlan, trace: Trace, binding: Binding | None) -> TwinFacts | None:
    """Traces the float32 twin of a model that computes in another format, once for all siblings; None where there is none, or
    where the twin cannot be traced: then the files are made from the model, and their own reasons say why that fails.

    Where layers round their inputs, the twin does so, too, if on the first rows it is not well within its limit otherwise.
    """
    twin = float_twin.of(trace.model)
    if twin is None:
        return None
    if trace.twin is not None and not twin.holds_weights:
        return twin.facts
    traced = _twin_of(trace, twin)
    if twin.may_round and binding is not None:
        rows = first_rows(next(bound_rows.batches(plan, binding, shard_index=0)))
        limit = plan.twin_max_rel or twin.facts.max_rel_limit
        if traced is None or _off(trace, traced, rows) > _WELL_WITHIN * limit:
            rounding = float_twin.of(trace.model, rounds_inputs=True)
            nearer = None if rounding is None else _twin_of(trace, rounding)
            if rounding is not None and nearer is not None:
                twin, traced = rounding, nearer
    trace.twin = traced
    return None if traced is None else twin.facts


def _twin_of(trace: Trace, twin: float_twin.FloatTwin) -> Trace | None:
    try:
        traced = tracing.trace(twin.model)
    except ModelError:
        return None
    calls = trace.traced.calls
    return Trace(twin.model, dataclasses.replace(traced, calls=calls), leader=trace.leader, apart=trace.apart)


def _off(trace: Trace, twin: Trace, rows: Mapping[str, Any]) -> float:
    """How far a twin is from its model on some rows, relative to the largest answer."""
    expected, observed = trace.traced.run(rows), twin.traced.run(float_twin.as_the_twin_takes_them(rows, twin.traced.signature))
    return max(tracing.relative_distance(expected[name], observed[name]) for name in expected)


def add_signatures(plan: ModelPlan, trace: Trace) -> None:
    """Traces the job's signatures besides serving_default."""
    trace.more_signatures = signatures.add(
        trace.model, trace.traced, plan.signatures, serve_examples=plan.serve_examples, scratch=os.path.abspath("signatures")
    )


def add_together(plan: ModelPlan, trace: Trace) -> None:
    """Puts the signatures together that the job wants in one .tflite file. Where that is impossible the SavedModel stands alone,
    and `apart` says why.

    Raises:
      ModelError: LOAD_UNSUPPORTED where there is no signature of a name.
    """
    if not plan.tflite_signatures:
        return
    first = {trace.model.signature_name, trace.model.own_name} - trace.more_signatures.keys()
    try:
        names = together.chosen(plan.tflite_signatures, list(trace.more_signatures), first=sorted(first))
    except ValueError as error:
        raise ModelError(ReasonCode.LOAD_UNSUPPORTED, Stage.EXPORT, str(error)) from error
    try:
        trace.together = together.of(trace.traced, {name: trace.more_signatures[name] for name in names}) if names else None
        if trace.together is not None and float_twin.of(trace.model) is not None:
            words = "its files are made of its float32 twin, which has one signature; drop the key, or the files"
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{together.KEY}: {words}")
        if saved_model.SIGNATURE_NAME in names:
            words = (
                f"the file's {saved_model.SIGNATURE_NAME} is {trace.model.signature_name!r}, by `signature` of its models entry"
            )
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{together.KEY}: {words}; drop one of the two keys")
    except ModelError as error:
        trace.together, trace.apart = None, error.reason


def bound_signature(trace: Trace) -> Signature:
    """What rows are bound to, under the model's own input names."""
    if trace.together is None:
        return trace.model.signature
    own = {spec.name for spec in trace.traced.signature.inputs}
    more = [spec for spec in trace.proven.signature.inputs if spec.name not in own]
    return dataclasses.replace(trace.model.signature, inputs=(*trace.model.signature.inputs, *more))


def first_rows(batch: Any) -> dict[str, Any]:
    """A few rows of a batch, by input name."""
    return {name: value[:_FEW_ROWS] for name, value in batch.inputs.items()}
