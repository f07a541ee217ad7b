"""The statistics with files of their own; every file in this folder is imported. `base` says how to add one."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from liteferry.parity.statistics.base import Metric, Statistic

__all__ = ["METRICS", "STATISTICS", "Metric", "Statistic", "defaults_of"]


def _found() -> tuple[type[Statistic], ...]:
    classes: dict[str, type[Statistic]] = {}
    for module in pkgutil.iter_modules(__path__):
        members: list[Any] = list(vars(importlib.import_module(f"{__name__}.{module.name}")).values())
        concrete = [one for one in members if isinstance(one, type) and issubclass(one, Statistic) and one is not Statistic]
        classes |= {one.name: one for one in concrete}
    return tuple(classes[name] for name in sorted(classes))


STATISTICS = _found()
METRICS: tuple[Metric, ...] = tuple(metric for statistic in STATISTICS for metric in statistic.metrics)


def defaults_of(variant: str) -> dict[str, float]:
    """The default limits of a variant on metrics of this folder."""
    return {metric.name: metric.defaults[variant] for metric in METRICS if variant in metric.defaults}
