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
from liteferry.gate_limits import DEFAULT_GATES, JOB, METRICS, SAVED_MODEL, Gates, Limit, resolve_gates
from liteferry.parity import Kind, OutputStats

__all__ = ["DEFAULT_GATES", "METRICS", "SAVED_MODEL", "GateResult", "Gates", "Verdict", "judge", "resolve_gates"]

# Default gates on these two are for integers and text, all other default gates for floating point.
_DISCRETE_METRICS = frozenset({"mismatch_count", "exact_agreement"})
# Ratios with zero have no value, but equal outputs meet every limit on them.
_MET_WHEN_EQUAL = frozenset({"sqnr_db", "cosine"})


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


def judge(stats: Mapping[str, OutputStats], *, gates: Mapping[str, float], expected_outputs: Sequence[str]) -> Verdict:
    """Blesses a candidate if every built-in rule and every gate is met on every output.

    Args:
      stats: output name -> statistics over all samples.
      gates: from `resolve_gates`; the gates of any other mapping count as the user's.
      expected_outputs: the outputs that the reference has. Other outputs in `stats` are judged, too.
    """
    if not isinstance(gates, Gates):
        gates = Gates(variant="<variant>", from_user=gates)
    names = [*expected_outputs, *(name for name in sorted(stats) if name not in expected_outputs)]
    reports = {name: stats[name].report() for name in names if name in stats}
    results = _apply_gates({name: stats[name] for name in reports}, reports, gates)
    reason = (
        _nothing_compared(stats, names)
        or _incomplete(stats, names)
        or _nonfinite(stats, reports)
        or _collapsed(stats, reports)
        or _out_of_tolerance(stats, results, gates)
    )
    return Verdict(gates=results, is_blessed=reason is None, reason=reason)


def _apply_gates(
    stats: Mapping[str, OutputStats], reports: Mapping[str, Mapping[str, Any]], gates: Gates
) -> tuple[GateResult, ...]:
    """In the order of outputs, those that only the job file knows last; by metric within each."""
    results = []
    limits = {name: gates.limits_of(name) for name in (*stats, *(name for name in gates.of_outputs if name not in stats))}
    for name, of_output in limits.items():
        for metric, limit in of_output.items():
            if name in stats and (
                _applies(metric, stats[name], is_default=limit.source != JOB) or _is_owed(metric, limit, limits, stats)
            ):
                observed = reports[name][metric]
                is_within = _is_within(metric, limit.limit, observed, is_equal=_is_equal(stats[name]))
            elif limit.is_of_output:
                observed, is_within = None, False  # an output that is not there, and that the user counts on
            else:
                continue
            results.append(
                GateResult(
                    output=name, metric=metric, limit=limit.limit, observed=observed, is_within=is_within, source=limit.source
                )
            )
    return tuple(results)


def _is_owed(metric: str, limit: Limit, limits: Mapping[str, Mapping[str, Limit]], stats: Mapping[str, OutputStats]) -> bool:
    """Whether a gate must be answered although the metric means nothing here. Where the user asked for one that no output can
    answer, it must not pass in silence: it fails on all of them.
    """
    if limit.source != JOB or limit.is_of_output:
        return limit.is_of_output
    asked = [name for name in stats if metric in limits[name] and limits[name][metric].source == JOB]
    return not any(_applies(metric, stats[name], is_default=False) for name in asked)


def _applies(metric: str, stats: OutputStats, *, is_default: bool) -> bool:
    """Whether the metric means something for such an output, whatever its numbers are."""
    if metric in _DISCRETE_METRICS:
        return not is_default or stats.kind is not Kind.FLOAT
    if metric in ("argmax_agreement", "flip_count"):
        # By default only for (batch, classes): the last axis of an image or a sequence need not be classes.
        return stats.classes.positions > 0 and (not is_default or stats.rank == 2)
    if metric == "topk_agreement":
        return stats.classes.topk_slots > 0
    if metric in ("kl_mean", "kl_max"):
        return stats.classes.has_distributions
    return stats.kind is not Kind.TEXT if not is_default else stats.kind is Kind.FLOAT


def _is_within(metric: str, limit: float, observed: float | None, *, is_equal: bool) -> bool:
    if observed is None:
        return is_equal and metric in _MET_WHEN_EQUAL
    return bool(observed <= limit if METRICS[metric] == "max" else observed >= limit)


def _is_equal(stats: OutputStats) -> bool:
    return stats.mismatch_count == 0 and stats.kind is not Kind.TEXT and stats.compared_count > 0


def _judged(code: ReasonCode, message: str) -> Reason:
    return Reason(code=code, stage=Stage.JUDGE, message=message)


def _nothing_compared(stats: Mapping[str, OutputStats], names: Sequence[str]) -> Reason | None:
    if not names:
        return _judged(ReasonCode.SAMPLES_EMPTY, "no output was expected and none was seen: nothing was compared")
    if not any(stats[name].example_count for name in names if name in stats):
        message = f"no example was compared for {_quoted(names)}; check that the sample files hold rows"
        return _judged(ReasonCode.SAMPLES_EMPTY, message)
    return None


def _incomplete(stats: Mapping[str, OutputStats], names: Sequence[str]) -> Reason | None:
    missing = [name for name in names if name not in stats]
    if missing:
        message = f"output {_quoted(missing)} is missing (outputs compared: {_quoted(sorted(stats))})"
        return _judged(ReasonCode.PARITY_OUT_OF_TOLERANCE, f"{message}; export the candidate again with every output")
    counts = {name: stats[name].example_count for name in names}
    if len(set(counts.values())) > 1:
        message = f"outputs were compared over different numbers of examples ({counts}); run the evaluation again"
        return _judged(ReasonCode.SAMPLES_EMPTY if 0 in counts.values() else ReasonCode.PARITY_OUT_OF_TOLERANCE, message)
    hollow = [name for name in names if stats[name].element_count == 0]
    if hollow:
        message = f"output {_quoted(hollow)} has no elements: nothing was compared"
        return _judged(ReasonCode.SAMPLES_EMPTY, f"{message}; use samples for which it has some")
    return None


def _nonfinite(stats: Mapping[str, OutputStats], reports: Mapping[str, Mapping[str, Any]]) -> Reason | None:
    for name, report in reports.items():
        counts = f"{report['nonfinite_reference']} in the reference, {report['nonfinite_candidate']} in the candidate"
        if report["nonfinite_mismatch"]:
            message = (
                f"output {name!r}: {report['nonfinite_mismatch']} of {report['element_count']} elements are NaN or infinite on "
                f"one side only or not in the same way ({counts}){_worst(stats[name])}; look for overflow, often in float16"
            )
            return _judged(ReasonCode.PARITY_NONFINITE, message)
        if stats[name].compared_count == 0:
            message = f"output {name!r}: all {report['element_count']} elements are NaN or infinite: nothing was compared"
            return _judged(ReasonCode.PARITY_NONFINITE, f"{message}; check the samples' range and preprocessing")
    return None


def _collapsed(stats: Mapping[str, OutputStats], reports: Mapping[str, Mapping[str, Any]]) -> Reason | None:
    for name, report in reports.items():
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


def _out_of_tolerance(stats: Mapping[str, OutputStats], results: Sequence[GateResult], gates: Gates) -> Reason | None:
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
        compared = f"= {first.observed:.6g}, the limit is {'at most' if is_error else 'at least'} {first.limit:g}"
    others = len(failed) - 1
    more = f"; {others} more {'gate is' if others == 1 else 'gates are'} not met" if others else ""
    message = f"output {first.output!r}: {first.metric} {compared}{_worst(stats.get(first.output))}{more}; {fix}"
    return _judged(ReasonCode.PARITY_OUT_OF_TOLERANCE, message)


def _worst(stats: OutputStats | None) -> str:
    worst = stats.worst_examples() if stats else ()
    return f" (worst example: id {worst[0]['id']!r}, row {worst[0]['row']})" if worst else ""


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
