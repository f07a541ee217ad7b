"""In a sandbox: every kind of `tensor_kinds` through loading, tracing, writing and converting."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.exporting import saved_model_kinds, tensor_kinds  # noqa: F401  # the first adds its kinds
from tests.exporting.tensor_kinds import Kind

# Those of tf_keras last: a process that has loaded one takes `keras` for it.
KINDS = dict(sorted(tensor_kinds.KINDS.items(), key=lambda item: "tf_keras" in item[0]))


def run_kinds(names: tuple[str, ...], reporter: Any) -> None:
    """Hands over {kind, error} or {kind, names, per_call, batch, inputs, warnings, off: {side: {output: distance}}, lite}."""
    for name in names:
        folder = Path(tempfile.mkdtemp())
        try:
            found = _run(KINDS[name](folder), folder)
        except Exception as error:  # noqa: BLE001  # the test says what may fail
            found = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-1500:]}
        reporter.result({"kind": name, "error": None} | found)


def _run(kind: Kind, folder: Path) -> dict[str, Any]:
    from liteferry import checkpoints
    from liteferry.config.job import SamplesSpec
    from liteferry.exporting import saved_model
    from liteferry.loading import loaders, tracing
    from liteferry.loading.model import LoadSpec
    from liteferry.samples.batches import read_batches
    from liteferry.samples.binding import bind, columns_as_inputs
    from liteferry.samples.opening import open_samples
    from liteferry.tflite import runners

    np.savez(folder / "rows.npz", **kind.columns)
    spec = SamplesSpec(path=str(folder / "rows.npz"), inputs=kind.inputs)
    sample_set = open_samples(spec)
    modules = (tensor_kinds.MODULE, "tests.exporting.tensor_layers")
    model = loaders.load(
        kind.path,
        checkpoints.examine(kind.path),
        LoadSpec(modules=modules, trust=("file_ops",)),
        sample_columns=columns_as_inputs(sample_set, spec),
    )
    traced = tracing.trace(model)
    binding = bind(sample_set, spec, model.signature, samples_name="rows")
    renamed = tuple(
        dataclasses.replace(one, input=dataclasses.replace(one.input, name=traced.renamed.get(one.input.name, one.input.name)))
        for one in binding.inputs
    )
    (batch,) = read_batches(sample_set.shards[0], dataclasses.replace(binding, inputs=renamed), 64)
    traced = tracing.on_rows(traced, batch.inputs)
    directory = os.path.join(tempfile.mkdtemp(), "1")
    saved_model.write(traced, directory, keep=model.keep, metadata={})
    sides = {
        "eager": tracing.run_eagerly(model, traced, batch.inputs),
        "trace": traced.run(batch.inputs),
        "saved_model": runners.SavedModelRunner(directory, per_call=traced.calls.per_call).run(batch.inputs),
    }
    first = {name: value[:4] for name, value in batch.inputs.items()}
    saved_model.write_warmup_requests(directory, {saved_model.SIGNATURE_NAME: first}, batch=traced.calls.batch or 1)
    runner = runners.SavedModelRunner(directory, per_call=traced.calls.per_call)
    for request in saved_model.read_warmup_requests(directory):
        runner.run(request)
    lite = _converted(model, traced, batch.inputs, sides)
    return {
        "names": list(sides["trace"]),
        "per_call": list(traced.calls.per_call),
        "batch": traced.calls.batch,
        "inputs": {one.name: f"{one.dtype} {one.shape}" for one in traced.signature.inputs},
        "unused": list(binding.unused),
        "warnings": list(model.warnings),
        "deterministic": tracing.is_deterministic(model, traced, batch.inputs, first=sides["eager"]),
        "off": {side: _distances(kind.answers, answers) for side, answers in sides.items()},
        "lite": lite,
    }


def _converted(model: Any, traced: Any, inputs: Any, sides: dict[str, Any]) -> str:
    from liteferry.tflite import lowering, runners
    from liteferry.tflite.lowering import LoweringOptions

    few = {name: value[:8] for name, value in inputs.items()}
    content, lowered = lowering.lower(
        lowering.Source(model=model, traced=traced, rows=few), options=LoweringOptions(), sibling=None, metadata={}
    )
    if content is None:
        return f"{lowered.attempts[-1].error.code.value}"  # type: ignore[union-attr]
    sides["lite"] = runners.LiteRTRunner(content, per_call=traced.calls.per_call).run(inputs)
    return "converted"


def _distances(expected: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray]) -> dict[str, float | str]:
    from liteferry.loading import call_groups, tracing

    found: dict[str, float | str] = {}
    for name, wanted in expected.items():
        if name not in observed:
            found[name] = "missing"
            continue
        left, right = wanted, observed[name]
        if left.shape != right.shape:
            left, right = call_groups.aligned(left, right)
        if left.dtype.kind in "SU":
            left = left.astype(object)
        distance = tracing.relative_distance(left, right)
        found[name] = distance if np.isfinite(distance) else f"{wanted.dtype} {wanted.shape} became {right.dtype} {right.shape}"
    return found
