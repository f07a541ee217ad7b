"""What tests of task metrics share: a job over given labels, with answers that are written where artifacts leave theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from liteferry.config.load import parse_job
from liteferry.evaluation import predictions
from liteferry.evaluation.compute_metrics import MetricsTask, compute_isolated
from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.samples.sample_set import Batch
from liteferry.sandbox import arrays_file

Answers = Mapping[str, np.ndarray]


def plan_of(folder: Path, columns: Mapping[str, np.ndarray], *, shards: int = 1, **job: Any) -> ModelPlan:
    """The plan of one checkpoint whose samples hold `columns`, in as many files as `shards`; `job`: keys of the job file.

    `samples` in `job` are the keys of its only entry besides the path.
    """
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    (folder / "model.keras").write_bytes(b"never loaded here")
    count = len(next(iter(columns.values())))
    for number, part in enumerate(np.array_split(np.arange(count), shards)):
        np.savez(folder / "rows" / f"{number:03d}.npz", **{name: array[part] for name, array in columns.items()})  # type: ignore[arg-type]
    entry = {"path": "rows/*.npz", **job.pop("samples", {"label": "label"})}
    mapping = {"models": [{"checkpoints": "model.keras"}], "samples": {"rows": entry}, **job}
    (plan,) = plan_models(parse_job(mapping, base_dir=str(folder)), str(folder / "out"))
    return plan


def answer(plan: ModelPlan, columns: Mapping[str, np.ndarray], outputs: Mapping[str, Answers | np.ndarray]) -> MetricsTask:
    """Leaves the answers of `reference` and of every other model on disk as the evaluation does, and returns the task."""
    assert plan.metrics is not None and plan.samples.sample_set is not None
    named = {model: {"score": one} if isinstance(one, np.ndarray) else dict(one) for model, one in outputs.items()}
    for index, shard in enumerate(plan.samples.sample_set.shards):
        folder = Path(bound_rows.shard_directory(plan, index))
        folder.mkdir(parents=True)
        kept = predictions.Keeper(plan, shard_index=index)
        (folder / "outputs.json").write_text(json.dumps(list(named["reference"])))
        for number, start in enumerate(range(shard.first_row, shard.first_row + shard.row_count, plan.batch_size)):
            rows = slice(start, min(start + plan.batch_size, shard.first_row + shard.row_count))
            arrays_file.write(
                str(folder / f"{number:08d}.npz"), {name: array[rows] for name, array in named["reference"].items()}
            )
            extras = {name: columns[name][rows] for name in plan.metrics.readable_columns()}
            ids = tuple(str(row) for row in range(rows.start, rows.stop))
            cut = {model: {name: array[rows] for name, array in answers.items()} for model, answers in named.items()}
            kept.start(Batch(inputs={}, ids=ids, first_row=start, label=None, extras=extras), cut["reference"])
            for model in named.keys() - {"reference"}:
                kept.keep(model, cut[model])
        kept.flush()
    os.makedirs(plan.staging_directory(), exist_ok=True)
    return MetricsTask(plan=plan, artifacts={model: f"tflite/{model}.tflite" for model in named if model != "reference"})


def compute(
    folder: Path, columns: Mapping[str, np.ndarray], outputs: Mapping[str, Answers | np.ndarray], **job: Any
) -> tuple[ModelPlan, MetricsResult]:
    """The result of one model's metrics, computed in a real sandbox."""
    plan = plan_of(folder, columns, **job)
    return plan, compute_isolated(answer(plan, columns, outputs))


def value(result: MetricsResult, model: str, metric: str, slice_name: str = "Overall") -> float | None:
    """One number of a result."""
    (found,) = [one for one in result.models[model].values if (one.metric, one.slice) == (metric, slice_name)]
    return found.value
