"""The limits in a TFMA EvalConfig, in their order. They may change without computing a metric again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

# The name of a limit among a report's gates.
MAX_DROP, MAX_RELATIVE_DROP, MIN_VALUE, MAX_VALUE = "max_drop", "max_relative_drop", "min_value", "max_value"
_KINDS = {"lower_bound": MIN_VALUE, "upper_bound": MAX_VALUE, "absolute": MAX_DROP, "relative": MAX_RELATIVE_DROP}
_THRESHOLDS = ("value_threshold", "change_threshold")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """`kind`: one of the four above. `bound`: the limit for an observed value, with the tolerance for float32. `shown`: as the
    user wrote it.
    """

    kind: str
    bound: float
    shown: float

    def holds(self, observed: float | None) -> bool:
        """Whether a value (for drops: how much worse it is) is within the limit. A missing value is not."""
        if observed is None:
            return False
        return observed >= self.bound if self.kind == MIN_VALUE else observed <= self.bound


def bounds_of(eval_config: str, limits: Mapping[str, float]) -> tuple[Bound, ...]:
    """Every limit, in the order of the config. `limits`: see `MetricsPlan`."""
    found = []
    for threshold, key in _places(json.loads(eval_config)):
        is_higher = threshold.get("direction") == "HIGHER_IS_BETTER" and key in ("absolute", "relative")
        bound = -float(threshold[key]) if is_higher else float(threshold[key])
        found.append(Bound(kind=_KINDS[key], bound=bound, shown=limits.get(repr(bound), bound)))
    return tuple(found)


def without_numbers(eval_config: str) -> Any:
    """The config with every limit's number left out: equal for two that compute the same and have limits at the same places."""
    config = json.loads(eval_config)
    for threshold, key in list(_places(config)):
        threshold[key] = None
    return config


def _places(node: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """(threshold, key) of every limit."""
    if isinstance(node, dict):
        for name in sorted(node):
            if name in _THRESHOLDS and isinstance(node[name], dict):
                yield from ((node[name], key) for key in sorted(_KINDS.keys() & node[name].keys()))
            else:
                yield from _places(node[name])
    elif isinstance(node, list):
        for item in node:
            yield from _places(item)
