"""The gates that decide whether a variant may ship. Closed by default: what was not compared is not blessed.

A gate is a limit (`gate_limits`) on one metric of `OutputStats.report`, on every output it applies to. Four built-in rules cannot
be removed: something was compared, every expected output is there, both sides are finite in the same places, and the candidate
has not collapsed to a constant. docs/gates.md explains all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.parity.class_counts import near_ties
from liteferry.parity.gate_limits import (
    CLASSES,
    DEFAULT_GATES,
    JOB,
    METRICS,
    REGRESSION,
    SAVED_MODEL,
    Gates,
    Limit,
    resolve_gates,
)
from liteferry.parity.output_stats import Kind, OutputStats

Stored = Mapping[str, Any]
"""Statistics of one output as a report has them (`OutputStats.report`), with its `worst_examples`."""
__all__ = ["DEFAULT_GATES", "METRICS", "SAVED_MODEL", "GateResult", "Gates", "Verdict", "judge", "resolve_gates"]

# Default gates on these two apply to integers and text, all other default gates to floating point.
_DISCRETE_METRICS = frozenset({"mismatch_count", "exact_agreement"})
# These metrics have no value if the outputs are equal (a ratio with zero); equal outputs then meet every limit on them.
_MET_WHEN_EQUAL = frozenset({"sqnr_db", "cosine"})
# Default gates on these are skipped where an output's last axis holds no classes.
_OF_CLASSES = frozenset({"argmax_agreement", "class_recall", "flip_count"})
# Beyond (batch, classes) nothing says that the last axis is one of classes. Where this share of positions keeps its largest entry
# on the other side, too, a class that does not keep its positions has died, whether or not the axis is known to hold classes.
_READS_AS_CLASSES = 0.75


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate on one output. `observed` is None where the metric has no value. `source`: `default`, `noise` (a default that
    measured noise has raised) or `job`.
    """

    output: str
    metric: str
    limit: float
    observed: float | None
    is_within: bool
    source: str = JOB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every gate that was applied, and why the candidate is not blessed; `reason` is None exactly when it is."""

    gates: tuple[GateResult, ...]
    is_blessed: bool
    reason: Reason | None


def judge(stats: Mapping[str, OutputStats | Stored], *, gates: Mapping[str, float], expected_outputs: Sequence[str]) -> Verdict:
    """The verdict on a candidate: blessed if every built-in rule and every gate is met on every output.

    Args:
      stats: output name -> statistics over all samples, either OutputStats or the result of `OutputStats.stored`.
      gates: from `resolve_gates`; the gates of any other mapping count as the user's.
      expected_outputs: the outputs that the reference has. Other outputs in `stats` are judged, too.
    """
    if not isinstance(gates, Gates):
        gates = Gates(variant="<variant>", from_user=gates)
    found = {name: one.stored() if isinstance(one, OutputStats) else one for name, one in stats.items()}
    names = [*expected_outputs, *(name for name in sorted(found) if name not in expected_outputs)]
    found = {name: found[name] for name in names if name in found}
    results = _apply_gates(found, gates)
    reason = (
        _nothing_compared(found, names)
        or _incomplete(found, names)
        or _nonfinite(found)
        or _collapsed(found)
        or _out_of_tolerance(found, results, gates)
    )
    return Verdict(gates=results, is_blessed=reason is None, reason=reason)


def _apply_gates(stats: Mapping[str, Stored], gates: Gates) -> tuple[GateResult, ...]:
    """One result for each gate that applies, by output, with outputs that only the job file names last; by metric within each."""
    results = []
    limits = {name: gates.limits_of(name) for name in (*stats, *(name for name in gates.of_outputs if name not in stats))}
    for name, of_output in limits.items():
        for metric, limit in of_output.items():
            if name in stats and (
                _applies(metric, stats[name], is_default=limit.source != JOB, kind=gates.kinds.get(name))
                or _is_owed(metric, limit, limits, stats)
            ):
                observed, most = stats[name].get(metric), limit.limit + _beyond(metric, limit, stats[name])
                is_within = _is_within(metric, most, observed, is_equal=_is_equal(stats[name]))
            elif limit.is_of_output:
                observed, most, is_within = None, limit.limit, False  # the user has set a gate on an output that does not exist
            else:
                continue
            results.append(
                GateResult(output=name, metric=metric, limit=most, observed=observed, is_within=is_within, source=limit.source)
            )
    return tuple(results)


def _beyond(metric: str, limit: Limit, stats: Stored) -> int:
    """What is allowed beyond a default limit: near ties of a mask."""
    if metric != "mismatch_count" or limit.source == JOB or stats["kind"] != Kind.INTEGER.value:
        return 0
    lost, classes = stats.get("classes_lost", 1), stats.get("classes_judged", 0) + stats.get("classes_too_rare", 0)
    return near_ties(stats["element_count"], stats["example_count"], classes_lost=lost, classes=classes)


def _is_owed(metric: str, limit: Limit, limits: Mapping[str, Mapping[str, Limit]], stats: Mapping[str, Stored]) -> bool:
    """Whether a gate must be evaluated although the metric does not apply to this output. A gate that the user has set and that
    applies to no output must not pass silently: it fails on all outputs.
    """
    if limit.source != JOB or limit.is_of_output:
        return limit.is_of_output
    asked = [name for name in stats if metric in limits[name] and limits[name][metric].source == JOB]
    return not any(_applies(metric, stats[name], is_default=False) for name in asked)


def _applies(metric: str, stats: Stored, *, is_default: bool, kind: str | None = None) -> bool:
    """Whether the metric applies to an output of this form, regardless of its values. `kind`: what is known about the last
    axis.
    """
    if metric in _DISCRETE_METRICS:
        return not is_default or stats["kind"] != Kind.FLOAT.value
    if metric in _OF_CLASSES:
        return _has_classes(metric, stats) and (not is_default or are_classes(metric, stats, kind))
    if metric == "topk_agreement":
        return stats["topk"] is not None
    if metric in ("kl_mean", "kl_max"):
        return stats["kl_infinite"] is not None
    if metric == "row_agreement":
        return stats["row_agreement"] is not None
    if metric == "column_sqnr_db":
        return bool(stats["columns_judged"])
    return bool(stats["kind"] != Kind.TEXT.value if not is_default else stats["kind"] == Kind.FLOAT.value)


def _has_classes(metric: str, stats: Stored) -> bool:
    return bool(stats["classes_judged"]) if metric == "class_recall" else stats["argmax_agreement"] is not None


def are_classes(metric: str, stats: Stored, kind: str | None) -> bool:
    """Whether a default gate treats the last axis as classes: always for (batch, classes), unless it is known not to be."""
    if kind is not None or stats["kind"] == Kind.INTEGER.value or stats["rank"] == 2:
        return kind != REGRESSION
    if metric != "class_recall":
        return False
    return bool(stats["kl_infinite"] is not None or stats["argmax_agreement"] >= _READS_AS_CLASSES)


def _is_within(metric: str, limit: float, observed: float | None, *, is_equal: bool) -> bool:
    if observed is None:
        return is_equal and metric in _MET_WHEN_EQUAL
    return bool(observed <= limit if METRICS[metric] == "max" else observed >= limit)


def _is_equal(stats: Stored) -> bool:
    return bool(stats["mismatch_count"] == 0 and stats["kind"] != Kind.TEXT.value and stats["compared_count"] > 0)


def _judged(code: ReasonCode, message: str) -> Reason:
    return Reason(code=code, stage=Stage.JUDGE, message=message)


def _nothing_compared(stats: Mapping[str, Stored], names: Sequence[str]) -> Reason | None:
    if not names:
        return _judged(ReasonCode.SAMPLES_EMPTY, "no output was expected and none was seen: nothing was compared")
    if not any(stats[name]["example_count"] for name in names if name in stats):
        message = f"no example was compared for {_quoted(names)}; check that the sample files hold rows"
        return _judged(ReasonCode.SAMPLES_EMPTY, message)
    return None


def _incomplete(stats: Mapping[str, Stored], names: Sequence[str]) -> Reason | None:
    missing = [name for name in names if name not in stats]
    if missing:
        message = f"output {_quoted(missing)} is missing (outputs compared: {_quoted(sorted(stats))})"
        return _judged(ReasonCode.PARITY_OUT_OF_TOLERANCE, f"{message}; export the candidate again with every output")
    counts = {name: stats[name]["example_count"] for name in names}
    if len(set(counts.values())) > 1:
        message = f"outputs were compared over different numbers of examples ({counts}); run the evaluation again"
        return _judged(ReasonCode.SAMPLES_EMPTY if 0 in counts.values() else ReasonCode.PARITY_OUT_OF_TOLERANCE, message)
    hollow = [name for name in names if stats[name]["element_count"] == 0]
    if hollow:
        message = f"output {_quoted(hollow)} has no elements: nothing was compared"
        return _judged(ReasonCode.SAMPLES_EMPTY, f"{message}; use samples for which it has some")
    return None


def _nonfinite(stats: Mapping[str, Stored]) -> Reason | None:
    for name, report in stats.items():
        counts = f"{report['nonfinite_reference']} in the reference, {report['nonfinite_candidate']} in the candidate"
        if report["nonfinite_mismatch"]:
            message = (
                f"output {name!r}: {report['nonfinite_mismatch']} of {report['element_count']} elements are NaN or infinite on "
                f"one side only or not in the same way ({counts}){_worst(stats[name])}; look for overflow, often in float16"
            )
            return _judged(ReasonCode.PARITY_NONFINITE, message)
        if stats[name]["compared_count"] == 0:
            message = f"output {name!r}: all {report['element_count']} elements are NaN or infinite: nothing was compared"
            return _judged(ReasonCode.PARITY_NONFINITE, f"{message}; check the samples' range and preprocessing")
    return None


def _collapsed(stats: Mapping[str, Stored]) -> Reason | None:
    for name, report in stats.items():
        is_one_value = report["constant_candidate"] and not report["constant_reference"]
        is_one_row = report["same_rows_candidate"] and not report["same_rows_reference"]
        if is_one_value or is_one_row:
            what = "zero" if report["zero_candidate"] else "one same value" if is_one_value else "one same row of values"
            message = (
                f"output {name!r} has collapsed: the candidate answers {what} for all {report['example_count']} "
                f"examples, the reference does not{_worst(stats[name])}; drop the variant, calibrate it with representative "
                f"samples, or evaluate samples for which the reference's answers differ more"
            )
            return _judged(ReasonCode.PARITY_OUT_OF_TOLERANCE, message)
    return None


def _out_of_tolerance(stats: Mapping[str, Stored], results: Sequence[GateResult], gates: Gates) -> Reason | None:
    failed = [result for result in results if not result.is_within]
    if not failed:
        return None
    first = failed[0]
    key = gates.limits_of(first.output)[first.metric].key
    is_error = METRICS[first.metric] == "max"
    if first.output not in stats:
        compared = f"is gated by {key}, and the model has no such output (outputs: {_quoted(sorted(stats))})"
        fix = "correct the name, or remove the gate"
    elif first.observed is None:
        fix = f"remove {key} from the job file, or gate on a metric that this output has"
        compared = f"is not defined for this output, so the limit {first.limit:g} is not met"
    else:
        way_out = "look at how the model was exported" if gates.variant == SAVED_MODEL else "drop the variant"
        fix = f"{'raise' if is_error else 'lower'} {key} in the job file or {way_out}"
        fix += _ask_for_kind(first, stats[first.output], gates)
        compared = f"= {first.observed:.6g}{_part(first, stats[first.output])}, the limit is "
        compared += f"{'at most' if is_error else 'at least'} {first.limit:g}"
    others = len(failed) - 1
    more = f"; {others} more {'gate is' if others == 1 else 'gates are'} not met" if others else ""
    message = f"output {first.output!r}: {first.metric} {compared}{_worst(stats.get(first.output))}{more}; {fix}"
    return _judged(ReasonCode.PARITY_OUT_OF_TOLERANCE, message)


def _part(result: GateResult, stats: Stored) -> str:
    """Words for the part of the output that the number describes."""
    if result.metric == "row_agreement":
        return f" ({stats['rows_lost']:,} rows are lost: their error has half the power of the answer or more)"
    if result.metric == "class_recall" and stats.get("worst_class") is not None:
        kept = f"{stats['worst_class_kept']:,} of the {stats['worst_class_positions']:,} positions"
        return f" (class {stats['worst_class']} keeps {kept} that the reference gives it)"
    if result.metric == "column_sqnr_db" and stats.get("worst_column") is not None:
        first, last = stats["worst_column"], stats["worst_column_last"]
        where = f"entry {first}" if first == last else f"entries {first} to {last}"
        numbers = f"varies by {stats['worst_column_spread']:.3g}, its error is {stats['worst_column_rmse']:.3g}"
        return f" ({where} of the last axis {numbers})"
    return ""


def _ask_for_kind(result: GateResult, stats: Stored, gates: Gates) -> str:
    """The job key to set, where nothing says whether the last axis holds classes."""
    if (
        result.metric not in _OF_CLASSES
        or result.source == JOB
        or stats["kind"] != Kind.FLOAT.value
        or stats["kl_infinite"] is not None
        or gates.kinds.get(result.output) == CLASSES
    ):
        return ""
    return (
        f"; if the last axis of {result.output!r} holds no classes, say so in the models entry: "
        f"outputs: {{{result.output}: {{kind: regression}}}}"
    )


def _worst(stats: Stored | None) -> str:
    worst = stats["worst_examples"] if stats else ()
    return f" (worst example: id {worst[0]['id']!r}, row {worst[0]['row']})" if worst else ""


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
