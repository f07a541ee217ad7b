"""The limits of gates: the defaults, the job file's limits, and limits raised by measured noise.

A limit comes from the first of these that has one: the job file's `gates.<variant>.outputs.<output>`, the job file's
`gates.<variant>`, the default. Noise can only raise a default, at most to its cap. docs/gates.md explains the numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from liteferry.parity import statistics

SAVED_MODEL = "saved_model"
OUTPUTS = "outputs"
"""The key under a variant's gates that holds those of single outputs; no metric has this name."""

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
        "row_agreement": "min",
        "column_sqnr_db": "min",
        "class_recall": "min",
        **{metric.name: metric.gate for metric in statistics.METRICS if metric.gate is not None},
    }
)
REGRESSION, CLASSES = "regression", "classes"
KINDS = (REGRESSION, CLASSES)
"""What a models entry may say of an output: whether the entries of its last axis are classes."""
# docs/gates.md explains the numbers. 20 dB: the noise has a hundredth of the power of what varies. A cosine of 0.98 looks as
# strict and lets four times as much pass. Of parts: one row in a hundred may be lost; in no column may a tenth of what varies be
# noise; no class may lose more than half of its positions, however rare it is.
_PARTS = MappingProxyType({"row_agreement": 0.99, "column_sqnr_db": 10.0})
_FLOAT_PARTS = MappingProxyType({"row_agreement": 0.99, "column_sqnr_db": 20.0, "class_recall": 0.9})
_INT8 = MappingProxyType({"sqnr_db": 20.0, "argmax_agreement": 0.95, "exact_agreement": 0.95, "class_recall": 0.5, **_PARTS})
_INT4 = MappingProxyType(
    {
        "sqnr_db": 12.0,
        "argmax_agreement": 0.90,
        "exact_agreement": 0.90,
        "class_recall": 0.3,
        "row_agreement": 0.99,
        "column_sqnr_db": 5.0,
    }
)
_DEFAULT_GATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        SAVED_MODEL: MappingProxyType({"max_rel": 1e-5, "mismatch_count": 0, **_FLOAT_PARTS}),
        "float32": MappingProxyType({"max_rel": 1e-4, "mismatch_count": 0, **_FLOAT_PARTS}),
        "float16": MappingProxyType(
            {"max_rel": 1e-2, "argmax_agreement": 0.99, "exact_agreement": 0.99, "class_recall": 0.9, **_PARTS}
        ),
        "dynamic_int8": _INT8,
        "weight_only_int8": _INT8,
        "int8": _INT8,
        "auto": _INT8,
        "int16x8": MappingProxyType(
            {"sqnr_db": 25.0, "argmax_agreement": 0.97, "exact_agreement": 0.97, "class_recall": 0.7, **_PARTS}
        ),
        "dynamic_int4": _INT4,
        "weight_only_int4": _INT4,
    }
)
DEFAULT_GATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {variant: MappingProxyType({**gates, **statistics.defaults_of(variant)}) for variant, gates in _DEFAULT_GATES.items()}
)


# How far measured noise may raise a default limit: at most to `NOISE_MULTIPLE` times what was measured, and never above the cap.
NOISE_MULTIPLE = 4.0
NOISE_CAPS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {SAVED_MODEL: MappingProxyType({"max_rel": 5e-5}), "float32": MappingProxyType({"max_rel": 5e-4})}
)

DEFAULT, NOISE, JOB = "default", "noise", "job"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit. `source`: where it comes from. `key`: its key in the job file, existing or possible. `is_of_output`: whether the
    job file names the output, so that the gate always applies.
    """

    limit: float
    source: str
    key: str
    is_of_output: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gates(Mapping[str, float]):
    """The gates of one variant. As a mapping: metric -> limit of every output that has no limits of its own.

    It keeps the user's limits apart from the defaults, since only default gates may be skipped where a metric does not fit an
    output.

    Attributes:
      of_outputs: output -> metric -> limit, None for no gate; the user's limits for single outputs.
      noise: output -> metric -> measured noise, in that metric's unit.
      kinds: output -> `regression` or `classes`, where the job or the rows say so.
    """

    variant: str
    defaults: Mapping[str, float] = dataclasses.field(default_factory=dict)
    from_user: Mapping[str, float] = dataclasses.field(default_factory=dict)
    of_outputs: Mapping[str, Mapping[str, float | None]] = dataclasses.field(default_factory=dict)
    noise: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __getitem__(self, metric: str) -> float:
        return self.from_user[metric] if metric in self.from_user else self.defaults[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.defaults, *self.from_user}))

    def __len__(self) -> int:
        return len({*self.defaults, *self.from_user})

    def limits_of(self, output: str) -> dict[str, Limit]:
        """metric -> its limit for one output, sorted by metric."""
        own = self.of_outputs.get(output, {})
        found = {}
        for metric in sorted({*self, *own}):
            key = f"gates.{self.variant}.{metric}"
            if metric in own:
                limit = own[metric]
                if limit is not None:
                    key = f"gates.{self.variant}.outputs.{output}.{metric}"
                    found[metric] = Limit(limit=limit, source=JOB, key=key, is_of_output=True)
            elif metric in self.from_user:
                found[metric] = Limit(limit=self.from_user[metric], source=JOB, key=key)
            else:
                limit = raised_limit(self.variant, metric, self.defaults[metric], self.noise.get(output, {}).get(metric))
                found[metric] = Limit(limit=limit, source=DEFAULT if limit == self.defaults[metric] else NOISE, key=key)
        return found


def raised_limit(variant: str, metric: str, default: float, noise: float | None) -> float:
    """A default limit with measured noise taken into account: never below the default, never above both it and the cap."""
    cap = NOISE_CAPS.get(variant, {}).get(metric)
    if cap is None or noise is None or not math.isfinite(noise):
        return default
    return max(default, min(NOISE_MULTIPLE * noise, cap))


def resolve_gates(
    variant: str,
    user_gates: Mapping[str, Mapping[str, Any]],
    *,
    noise: Mapping[str, Mapping[str, float]] | None = None,
    like: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Gates:
    """The default gates of `variant` with the user's over them; None as the user's limit removes a default.

    Args:
      user_gates: variant -> metric -> limit; under `outputs`: output -> metric -> limit.
      noise: output -> metric -> what was measured.
      like: the variant whose default gates count, for one that has none of its own.
      kinds: output -> `regression` or `classes`, where known.

    Raises:
      ValueError: an unknown variant or metric, or a limit that is not a finite number. The message names its job file key.
    """
    like = like or variant
    if like not in DEFAULT_GATES:
        raise ValueError(f"gates.{variant}: no such variant (known: {', '.join(sorted(DEFAULT_GATES))})")
    wanted = {metric: limit for metric, limit in user_gates.get(variant, {}).items() if metric != OUTPUTS}
    of_outputs = user_gates.get(variant, {}).get(OUTPUTS, {})
    for prefix, limits in (
        (f"gates.{variant}", wanted),
        *((f"gates.{variant}.{OUTPUTS}.{o}", of_outputs[o]) for o in of_outputs),
    ):
        _check_limits(prefix, limits)
    return Gates(
        variant=variant,
        defaults={metric: limit for metric, limit in DEFAULT_GATES[like].items() if metric not in wanted},
        from_user={metric: float(limit) for metric, limit in wanted.items() if limit is not None},
        of_outputs={
            output: {metric: None if limit is None else float(limit) for metric, limit in limits.items()}
            for output, limits in of_outputs.items()
        },
        noise=noise or {},
        kinds=kinds or {},
    )


def _check_limits(prefix: str, limits: Mapping[str, Any]) -> None:
    for metric, limit in limits.items():
        if metric not in METRICS:
            raise ValueError(f"{prefix}.{metric}: no such metric to gate on (known: {', '.join(sorted(METRICS))})")
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
        if limit is not None and not is_number:
            raise ValueError(f"{prefix}.{metric}: {limit!r} is not a limit; write a finite number, or null for no gate")
