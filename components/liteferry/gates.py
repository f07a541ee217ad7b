"""The gates that decide whether a variant may ship. Closed by default: what was not compared is not blessed.

A gate is a limit on one metric of `OutputStats.report`, on every output it applies to. Defaults stand in `DEFAULT_GATES`; the job
file overrides or removes them per variant. Four built-in rules cannot be removed: something was compared, every expected
output is there, both sides are finite in the same places, and the candidate has not collapsed to a constant. docs/gates.md
explains all of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.parity import Kind, OutputStats

SAVED_MODEL = "saved_model"

# "max": an error, within when observed <= limit. "min": an agreement, within when observed >= limit.
METRICS: Mapping[str, str] = MappingProxyType(
    {
        "max_abs": "max",
        "mean_abs": "max",
        "rmse": "max",
        "max_rel": "max",
        "p50_abs": "max",
        "p90_abs": "max",
        "p99_abs": "max",
        "p999_abs": "max",
        "max_rel_elementwise": "max",
        "p50_rel": "max",
        "p90_rel": "max",
        "p99_rel": "max",
        "p999_rel": "max",
        "mismatch_count": "max",
        "nonfinite_reference": "max",
        "nonfinite_candidate": "max",
        "flip_count": "max",
        "kl_mean": "max",
        "kl_max": "max",
        "sqnr_db": "min",
        "cosine": "min",
        "argmax_agreement": "min",
        "topk_agreement": "min",
        "exact_agreement": "min",
    }
)
# Default gates on these two are for integers and text, all other default gates for floating point.
_DISCRETE_METRICS = frozenset({"mismatch_count", "exact_agreement"})
# Ratios with zero have no value, but equal outputs meet every limit on them.
_MET_WHEN_EQUAL = frozenset({"sqnr_db", "cosine"})

# 20 dB: the noise has a hundredth of the power of the answers. A cosine of 0.98 looks as strict and lets four times as much pass.
_INT8 = MappingProxyType({"sqnr_db": 20.0, "argmax_agreement": 0.95, "exact_agreement": 0.95})
_INT4 = MappingProxyType({"sqnr_db": 12.0, "argmax_agreement": 0.90, "exact_agreement": 0.90})
DEFAULT_GATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        SAVED_MODEL: MappingProxyType({"max_rel": 1e-5, "mismatch_count": 0}),
        "float32": MappingProxyType({"max_rel": 1e-4, "mismatch_count": 0}),
        "float16": MappingProxyType({"max_rel": 1e-2, "argmax_agreement": 0.99, "exact_agreement": 0.99}),
        "dynamic_int8": _INT8,
        "weight_only_int8": _INT8,
        "int8": _INT8,
        "int16x8": MappingProxyType({"sqnr_db": 25.0, "argmax_agreement": 0.97, "exact_agreement": 0.97}),
        "dynamic_int4": _INT4,
        "weight_only_int4": _INT4,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gates(Mapping[str, float]):
    """The gates of one variant, metric -> limit. Remembers which ones the user wrote: only default gates may step aside."""

    variant: str
    defaults: Mapping[str, float] = dataclasses.field(default_factory=dict)
    from_user: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __getitem__(self, metric: str) -> float:
        return self.from_user[metric] if metric in self.from_user else self.defaults[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.defaults, *self.from_user}))

    def __len__(self) -> int:
        return len({*self.defaults, *self.from_user})


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate on one output. `observed` is None where the metric has no value."""

    output: str
    metric: str
    limit: float
    observed: float | None
    is_within: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every gate that was applied, and why the candidate is not blessed; `reason` is None exactly when it is."""

    gates: tuple[GateResult, ...]
    is_blessed: bool
    reason: Reason | None


def resolve_gates(variant: str, user_gates: Mapping[str, Mapping[str, float | None]]) -> Gates:
    """The default gates of `variant` with the user's over them; None as the user's limit removes a default.

    Raises:
      ValueError: an unknown variant or metric, or a limit that is not a finite number. The message names its job file key.
    """
    if variant not in DEFAULT_GATES:
        raise ValueError(f"gates.{variant}: no such variant (known: {', '.join(sorted(DEFAULT_GATES))})")
    wanted = user_gates.get(variant, {})
    for metric, limit in wanted.items():
        if metric not in METRICS:
            raise ValueError(f"gates.{variant}.{metric}: no such metric to gate on (known: {', '.join(sorted(METRICS))})")
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
        if limit is not None and not is_number:
            raise ValueError(f"gates.{variant}.{metric}: {limit!r} is not a limit; write a finite number, or null for no gate")
    return Gates(
        variant=variant,
        defaults={metric: limit for metric, limit in DEFAULT_GATES[variant].items() if metric not in wanted},
        from_user={metric: float(limit) for metric, limit in wanted.items() if limit is not None},
    )


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
    results = []
    for metric, limit in gates.items():
        is_default = metric in gates.defaults
        applies = {name: _applies(metric, stats[name], is_default=is_default) for name in stats}
        # A gate that the user asked for and that no output can answer must not pass in silence: it fails on all of them.
        is_unanswerable = not is_default and not any(applies.values())
        for name, report in reports.items():
            if applies[name] or is_unanswerable:
                is_within = _is_within(metric, limit, report, is_equal=_is_equal(stats[name]))
                results.append(GateResult(output=name, metric=metric, limit=limit, observed=report[metric], is_within=is_within))
    return tuple(sorted(results, key=lambda result: list(reports).index(result.output)))


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


def _is_within(metric: str, limit: float, report: Mapping[str, Any], *, is_equal: bool) -> bool:
    observed = report[metric]
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
    is_error = METRICS[first.metric] == "max"
    if first.observed is None:
        fix = f"remove gates.{gates.variant}.{first.metric} from the job file, or gate on a metric that this output has"
        compared = f"is not defined for this output, so the limit {first.limit:g} is not met"
    else:
        way_out = "look at how the model was exported" if gates.variant == SAVED_MODEL else "drop the variant"
        fix = f"{'raise' if is_error else 'lower'} gates.{gates.variant}.{first.metric} in the job file or {way_out}"
        compared = f"= {first.observed:.6g}, the limit is {'at most' if is_error else 'at least'} {first.limit:g}"
    others = len(failed) - 1
    more = f"; {others} more {'gate is' if others == 1 else 'gates are'} not met" if others else ""
    message = f"output {first.output!r}: {first.metric} {compared}{_worst(stats[first.output])}{more}; {fix}"
    return _judged(ReasonCode.PARITY_OUT_OF_TOLERANCE, message)


def _worst(stats: OutputStats) -> str:
    worst = stats.worst_examples()
    return f" (worst example: id {worst[0]['id']!r}, row {worst[0]['row']})" if worst else ""


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
