"""Reads reports that may lack anything: values that are missing, null or of another type become None or empty, never an error.

A model that failed early has a report with few keys, and pages are also built from reports of older versions. No default
favours a model: an unknown status counts as `failed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from liteferry.types import Status

Report = Mapping[str, Any]
"""The content of a report.json, as `json.loads` gives it."""

VARIANT_LADDER = (
    "float32",
    "float16",
    "int16x8",
    "weight_only_int8",
    "dynamic_int8",
    "int8",
    "weight_only_int4",
    "dynamic_int4",
)
"""The order that variants are shown in, widest numbers first; any other variant follows, by name."""


def mapping(value: object) -> dict[str, Any]:
    """The mapping with its keys as text, a copy; empty for anything else."""
    if type(value) is dict and _TEXTS.issuperset(map(type, value)):
        return value.copy()
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


_TEXTS = frozenset({str})


def listing(value: object) -> list[Any]:
    """The list or tuple as a list; empty for anything else (text is no list)."""
    return list(value) if isinstance(value, (list, tuple)) else []


def text(value: object) -> str | None:
    """Text that UTF-8 can hold (file names may bring lone surrogates), None for None."""
    if value is None:
        return None
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def number(value: object) -> float | None:
    """A float; "NaN", "Infinity" and "-Infinity" are read as the floats that strict JSON cannot write."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def finite(value: object) -> object:
    """The same for strict JSON: NaN and infinity as the texts that `number` reads."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


_PLAIN = frozenset({str, int, bool})


def integer(value: object) -> int | None:
    """A count of bytes or rows that fits 64 bits; None for what is no whole number."""
    parsed = number(value)
    if parsed is None or not math.isfinite(parsed) or parsed != int(parsed) or abs(parsed) >= 2**63:
        return None
    return int(value) if isinstance(value, int) else int(parsed)


NONFINITE = "NaN or infinity"
"""The beginning of warnings that are shown beside every verdict."""


def caution(report: Report) -> str | None:
    """`NaN or infinity seen`, where sample rows or the checkpoint's answers hold some; of a report or of
    a model in fleet.json.
    """
    is_seen = any(str(warning).startswith(NONFINITE) for warning in listing(report.get("warnings")))
    return f"{NONFINITE} seen" if is_seen else None


def status(value: object) -> Status:
    """The verdict; `failed` for one that is missing or unknown, because the gate is closed by default."""
    try:
        return Status(str(value))
    except ValueError:
        return Status.FAILED


def model_status(report: Report) -> Status:
    """The verdict on a model: blessed, not blessed or failed, nothing else."""
    verdict = status(report.get("status"))
    return Status.NOT_BLESSED if verdict is Status.UNVERIFIABLE else verdict


def reason(value: object) -> dict[str, str | None] | None:
    """`{code, stage, message}`, or None where there is no reason."""
    found = mapping(value)
    if not found:
        return None
    return {key: text(found.get(key)) for key in ("code", "stage", "message")}


def required(report: Report, variant: str) -> bool | None:
    """Whether the model can be blessed without this variant; None where the report does not say."""
    names = report.get("required_variants")
    return variant in names if isinstance(names, (list, tuple)) else None


def ordered_variants(names: Iterable[str]) -> list[str]:
    """Variants in the order of the ladder, then the rest by name: JSON may have sorted them."""
    rank = {name: position for position, name in enumerate(VARIANT_LADDER)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def worst(values: Iterable[object], *, lower_is_worse: bool = False) -> float | None:
    """The worst value of one statistic over a model's outputs. NaN is worse than any number; None where it was not measured."""
    known = [parsed for value in values if (parsed := number(value)) is not None]
    if not known:
        return None
    if any(math.isnan(value) for value in known):
        return math.nan
    return min(known) if lower_is_worse else max(known)


def over_outputs(parity: object, statistic: str) -> list[object]:
    """One statistic of every output, in the report's order."""
    return [mapping(statistics).get(statistic) for statistics in mapping(parity).values()]


def seconds(report: Report) -> float | None:
    """The seconds that the model took: `timings_s.total` if it exists, else the sum of the stages."""
    timings = mapping(report.get("timings_s"))
    total = number(timings.get("total"))
    if total is not None:
        return total
    known = [parsed for value in timings.values() if (parsed := number(value)) is not None]
    return math.fsum(known) if known else None


def latency_ms(value: object) -> float | None:
    """The median latency of one row in milliseconds, wherever a report keeps it; the first number where no key is p50."""
    found = number(value)
    if found is not None:
        return found
    leaves = [(path, parsed) for path, item in _leaves(value) if (parsed := number(item)) is not None]
    medians = [parsed for path, parsed in leaves if "p50" in path or "median" in path]
    return next(iter([*medians, *(parsed for _, parsed in leaves)]), None)


def _leaves(value: object, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, item in mapping(value).items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", item
