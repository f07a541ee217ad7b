"""Estimates the disk that a run needs, from the sizes of its checkpoints; `check --output OUT` prints it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from typing import Any

from liteferry import storage
from liteferry.config.job import Variant
from liteferry.plan.model_plan import ModelPlan
from liteferry.report.formats import counted, human_bytes

# Share of the weights' bytes, which are at most the checkpoint's bytes. A user's recipe may keep all of them.
_SHARE = {
    Variant.FLOAT32.value: 1.0,
    Variant.FLOAT16.value: 0.5,
    Variant.AUTO.value: 0.5,
    Variant.DYNAMIC_INT8.value: 0.25,
    Variant.WEIGHT_ONLY_INT8.value: 0.25,
    Variant.INT8.value: 0.25,
    Variant.INT16X8.value: 0.25,
    Variant.DYNAMIC_INT4.value: 0.25,
    Variant.WEIGHT_ONLY_INT4.value: 0.25,
}
_ABOUT_A_MODEL = 1_000_000  # report, page and graph of a model with small weights
_SCANNED_COPY = 1.0  # for the copy of the checkpoint that loaders get


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """Sizes in bytes. `models`: the number of models to do. `output`: new bytes in OUT. `work`: additional temporary bytes of
    the largest models, for all processes at once. `free`: None on a store.
    """

    models: int
    output: int
    work: int
    free: int | None

    @property
    def is_enough(self) -> bool:
        return self.free is None or self.output + self.work <= self.free

    def in_words(self) -> str:
        """One line. The estimate is an upper bound, since weights take at most their checkpoint's size."""
        if not self.models:
            return "disk: nothing is left to do, so nothing more is needed"
        free = "" if self.free is None else f"; {human_bytes(self.free)} are free there"
        short = "" if self.is_enough else ", which is too little"
        needs = f"{human_bytes(self.output)} in OUT and {human_bytes(self.work)} while it works"
        return f"disk: at most about {needs} for {counted(self.models, 'model')} to do{free}{short}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, with `is_enough`."""
        return {**dataclasses.asdict(self), "is_enough": self.is_enough}


def disk_need(plans: Sequence[ModelPlan], out: str, *, processes: int) -> DiskNeed:
    """The disk that a run needs for these plans, which are not done yet."""
    left = [_left(plan) for plan in plans]
    work = sorted(
        (size + int((plan.size_bytes or 0) * _SCANNED_COPY) for plan, size in zip(plans, left, strict=True)), reverse=True
    )
    return DiskNeed(models=len(plans), output=sum(left), work=sum(work[:processes]), free=_free(out))


def _left(plan: ModelPlan) -> int:
    weights = plan.size_bytes or 0
    shares = sum(_SHARE.get(name, 1.0) for name in plan.variants)
    return int(weights * (plan.keep_versions + shares)) + _ABOUT_A_MODEL


def _free(out: str) -> int | None:
    if storage.is_remote(out):
        return None
    path = storage.require_local(out)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free
