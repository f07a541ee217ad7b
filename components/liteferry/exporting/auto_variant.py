"""Makes the variant `auto` of one model: splits the rows into search and proof rows, runs the search, and builds the report's
entry.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.exporting.traces import Trace
from liteferry.exporting.variant_steps import Source
from liteferry.loading.float_twin import as_the_twin_takes_them
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.tflite import auto_search, mixes, tf_quantize
from liteferry.tflite.auto_search import Judges
from liteferry.tflite.rows_judge import Answered, RowsJudge

NAME = "auto"
_TOLD_APART_FROM = 64  # rows: with fewer, each half would be too small to judge on
_MOST_ROWS = 1024  # of each half
_SEARCH_ROWS = 128  # every candidate runs on these; the result must then hold on all proof rows
_NOISE_ROWS = 16


def search(plan: ModelPlan, trace: Trace, binding: Any, source: Source) -> tuple[bytes, dict[str, Any]]:
    """Finds the smallest file that meets the gates of `auto` on the first shard's rows. Returns the file and the report's
    entry.

    A sibling tries the mix found for the first model of its family before it searches. The evaluation then judges the file on
    all rows of all shards.

    Raises:
      ModelError: SAMPLES_MISSING without rows; CONVERT_FAILED if no mix meets the gates, not even float32.
    """
    if binding is None:
        message = f"{NAME} is searched for on sample rows; give the model `samples`, or drop the variant"
        raise ModelError(ReasonCode.SAMPLES_MISSING, Stage.CONVERT, message)
    answered = _answered(plan, trace, binding)
    rows = sum(map(len, answered))
    searched, proving = _halves(answered) if rows >= _TOLD_APART_FROM else (answered, answered)
    searched = _first(searched, _SEARCH_ROWS)
    judge_on = functools.partial(
        RowsJudge, variant=NAME, gates=plan.gates, kinds=plan.output_kinds, per_call=trace.proven.calls.per_call
    )
    judges = Judges(
        search=judge_on(searched).judge,
        proof=judge_on(proving).judge,
        noise_db=judge_on(_first(searched, _NOISE_ROWS)).noise_db,
    )
    maker = mixes.Maker(source.file.content, source.rows)
    found = auto_search.search(maker, judges, plan.auto, family=trace.auto_mix, trained=_on_trained_ranges(source))
    if found.content is None:
        words = found.tried[-1].why if found.tried else "nothing could be tried"
        message = f"no mix of formats is within the gates, float32 included: {words}"
        raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message)
    trace.auto_mix = trace.auto_mix or found.mix
    return found.content, _told(
        found, maker, searched=sum(map(len, searched)), proving=sum(map(len, proving)), apart=rows >= _TOLD_APART_FROM
    )


def _on_trained_ranges(source: Source) -> bytes | None:
    """The int8 file on the ranges that training has found; None for a model that was trained without, or where it fails."""
    if not tf_quantize.has_trained_ranges(source.file, source.traced):
        return None
    try:
        return tf_quantize.with_trained_ranges("dynamic_int8", source.file, source.options)  # takes and gives floats
    except ModelError:
        return None


def _answered(plan: ModelPlan, trace: Trace, binding: Any) -> list[Answered]:
    """The first shard's batches, with the model's own answers to them."""
    found, left = [], 2 * _MOST_ROWS
    for batch in bound_rows.batches(plan, binding, shard_index=0):
        take = min(left, len(batch.ids))
        inputs = {name: value[:take] for name, value in batch.inputs.items()}
        rows = as_the_twin_takes_them(inputs, trace.proven.signature)
        found.append(Answered(inputs=rows, expected=trace.proven.run(rows), rows=take))
        left -= take
        if left <= 0:
            break
    return found


def _halves(answered: list[Answered]) -> tuple[list[Answered], list[Answered]]:
    """Splits by alternating rows: files are often sorted by class, so two consecutive halves could hold different classes."""
    return [part for one in answered if len(part := one.every_second(0))], [
        part for one in answered if len(part := one.every_second(1))
    ]


def _first(answered: list[Answered], count: int) -> list[Answered]:
    found = []
    for one in answered:
        found.append(one.first(count))
        count -= len(found[-1])
        if count <= 0:
            break
    return found


def _told(found: auto_search.Found, maker: mixes.Maker, *, searched: int, proving: int, apart: bool) -> dict[str, Any]:
    operators = maker.operators
    return {
        "mix": dict(found.mix),
        "formats": {
            wanted: sum(operators[name].elements for name, held in found.mix.items() if held == wanted)
            for wanted in mixes.FORMATS
        },
        "recipe": maker.recipe(found.mix),
        "sensitivity": [{**dataclasses.asdict(one), "sqnr_db": _finite(one.sqnr_db)} for one in found.sensitivity],
        "tried": [dataclasses.asdict(one) for one in found.tried],
        "candidates": found.candidates_made,
        "is_complete": found.is_complete,
        "from_family": found.from_family,
        "trained_ranges": found.has_trained_ranges,
        "search_rows": searched,
        "proof_rows": proving,
        "rows_are_apart": apart,
        "float32_bytes": len(maker.content),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
