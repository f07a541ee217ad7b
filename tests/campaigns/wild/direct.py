"""The report's statistics held against NumPy and SciPy, computed in one piece on the answers of published models."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

from liteferry.config.load import load_job
from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks
from liteferry.evaluation.results import merge, own_signature
from liteferry.exporting import reference
from liteferry.exporting.export import export_isolated
from liteferry.plan import bound_rows
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.report.model_report import build
from liteferry.tflite import runners

Array = npt.NDArray[Any]
# Both sides round, but nothing else: quantiles come from buckets of 1 %, everything else from exact sums.
_RTOL, _ATOL = 1e-9, 1e-12
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def direct(expected: Array, observed: Array) -> dict[str, float | None]:
    """What the report should say of one output, by the formulas of docs/gates.md: arrays (rows, ...) of finite floats."""
    left, right = (side.astype(np.float64) for side in (expected, observed))
    error = np.abs(left - right)
    signal, noise = _signal(left), float((error**2).sum())
    norms = np.linalg.norm(left) * np.linalg.norm(right)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(error == 0, 0.0, error / np.abs(left))
    found: dict[str, float | None] = {
        "example_count": len(left),
        "element_count": left.size,
        "mismatch_count": int((error != 0).sum()),
        "exact_agreement": float((error == 0).mean()),
        "max_abs": float(error.max()),
        "mean_abs": float(error.mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "max_rel": float(error.max() / np.abs(left).max()),
        "sqnr_db": 10 * math.log10(signal / noise) if signal and noise else None,
        "cosine": float((left * right).sum() / norms) if norms else None,
        "max_rel_elementwise": float(relative.max()) if np.isfinite(relative).all() else None,
    }
    if left.ndim >= 2 and left.shape[-1] >= 2:
        found |= _of_classes(left.reshape(-1, left.shape[-1]), right.reshape(-1, left.shape[-1]))
    return found


def _signal(left: Array) -> float:
    """Power about the mean of each entry of the last axis; about zero of what lies in 0 to 1, or does not vary."""
    columns = left.reshape(-1, left.shape[-1] if left.ndim > 1 else 1)
    centred = float(((columns - columns.mean(axis=0)) ** 2).sum())
    is_flat = centred / left.size <= (1e-5 * np.abs(left).max()) ** 2
    return float((left**2).sum()) if is_flat or (left.min() >= 0 and left.max() <= 1) else centred


def _of_classes(left: Array, right: Array) -> dict[str, float | None]:
    before, after = left.argmax(axis=1), right.argmax(axis=1)
    found: dict[str, float | None] = {
        "argmax_agreement": float((before == after).mean()),
        "flip_count": int((before != after).sum()),
        "flip_pairs": len({(int(a), int(b)) for a, b in zip(before, after, strict=True) if a != b}),
        "topk_agreement": None,
        "kl_mean": None,
        "kl_max": None,
        "kl_infinite": None,
    }
    if left.shape[1] > 5:
        tops = [np.argsort(-side, axis=1, kind="stable")[:, :5] for side in (left, right)]
        shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(*tops, strict=True)]
        found["topk_agreement"] = sum(shared) / (5 * len(left))
    if (left >= 0).all() and (np.abs(left.sum(axis=1) - 1) <= 1e-3).all():
        rows = scipy.special.kl_div(left, right).sum(axis=1)
        infinite = int((~np.isfinite(rows)).sum())
        found |= {"kl_infinite": infinite}
        found |= {"kl_mean": None if infinite else float(rows.mean()), "kl_max": None if infinite else float(rows.max())}
    return found


def differences(reported: Mapping[str, Any], expected: Array, observed: Array) -> list[str]:
    """Every number of a report that is not what `direct` finds, and every quantile that is too low or over 1 % too high."""
    problems = []
    for name, wanted in direct(expected, observed).items():
        seen = reported[name]
        is_same = seen is wanted if seen is None or wanted is None else math.isclose(seen, wanted, rel_tol=_RTOL, abs_tol=_ATOL)
        if not is_same:
            problems.append(f"{name} is {seen}, computed directly it is {wanted}")
    error = np.abs(expected.astype(np.float64) - observed.astype(np.float64))
    for name, share in _QUANTILES.items():
        wanted = float(np.quantile(error, share, method="inverted_cdf"))
        if not wanted <= reported[f"{name}_abs"] <= wanted * 1.01:
            problems.append(f"{name}_abs is {reported[f'{name}_abs']}, computed directly it is {wanted}")
    if sum(one["count"] for one in reported["error_histogram"]) != error.size:
        problems.append(f"error_histogram does not hold {error.size} elements")
    return problems


def check(job: pathlib.Path, out: pathlib.Path) -> tuple[int, list[str]]:
    """Exports the first checkpoint of each samples entry anew below `out`, evaluates it, and compares every .tflite output.

    Returns:
      How many outputs were compared, and a sentence for every number that differs.
    """
    plans = {plan.samples.name: plan for plan in reversed(plan_models(load_job(job), str(out)))}
    count, problems = 0, []
    for plan in plans.values():
        compared, found = _check_model(fingerprint(dataclasses.replace(plan, latency=False)))
        count += compared
        problems += [f"{plan.model_id}: {problem}" for problem in found]
    return count, problems


def _check_model(plan: ModelPlan) -> tuple[int, list[str]]:
    exported = export_isolated([plan])[0]
    is_one_shard = plan.samples.sample_set is not None and len(plan.samples.sample_set.shards) == 1
    if exported.saved_model is None or not is_one_shard:
        return 0, [] if exported.saved_model else [f"not exported: {exported.reason}"]
    evaluation = merge([evaluate_isolated(task, referenced=exported.referenced) for task in shard_tasks(plan, exported)])
    report = build(plan, exported, evaluation)
    saved = exported.saved_model
    binding = bound_rows.bind(plan, own_signature(saved.signature, saved.renamed_inputs), saved.renamed_inputs)
    rows = [batch.inputs for batch in bound_rows.batches(plan, binding, shard_index=0)]
    answers = [reference.read(plan, number, shard_index=0) for number in range(len(rows))]
    count, problems = 0, []
    for name, variant in exported.variants.items():
        if variant.path is None or not report["variants"][name]["parity"]:
            continue
        runner = runners.LiteRTRunner(str(pathlib.Path(plan.staging_directory()) / variant.path))
        observed = [runner.run(inputs) for inputs in rows]
        for output, reported in report["variants"][name]["parity"].items():
            sides = [_joined([batch[output] for batch in side]) for side in (answers, observed)]
            if sides[0] is None or sides[1] is None:
                continue
            count += 1
            problems += [f"{name} output {output!r}: {problem}" for problem in differences(reported, sides[0], sides[1])]
    return count, problems


def _joined(batches: Sequence[Array]) -> Array | None:
    """All rows as one array of finite floats; None where rows differ in shape, or are something else."""
    if len({batch.shape[1:] for batch in batches}) != 1 or batches[0].dtype.kind != "f":
        return None
    joined = np.concatenate(batches)
    return joined if np.isfinite(joined).all() else None
