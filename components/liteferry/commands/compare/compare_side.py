"""One side of a comparison, in a sandbox: an artifact of any kind runs on every sample row and leaves its answers on disk."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from liteferry.checkpoints.links import follow
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.evaluation.artifact_scan import refuse_unsafe_tflite
from liteferry.loading.call_groups import Calls
from liteferry.loading.model import LoadSpec
from liteferry.parity import claims
from liteferry.parity.rows_seen import RowsSeen
from liteferry.samples import batches, sample_set
from liteferry.samples.binding import bind, columns_as_inputs
from liteferry.sandbox import Flavor, Reporter, arrays_file
from liteferry.tflite import flatbuffer, held_quantized, quantize, runners
from liteferry.types import Signature, TensorSpec

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.sample_set import SampleSet

SAMPLES = "samples"  # the name that errors of the samples' modules carry, as in "samples.samples.inputs"
Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
OnRows = Callable[[Mapping[str, np.ndarray]], tuple[Run, Calls]]
"""The first rows -> the function that runs an artifact, and how it takes rows, decided on these rows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideTask:
    """One artifact to run on all rows. `folder`: where its answers are written. `rows`: ids of rows whose inputs are kept as
    well.
    """

    side: str
    path: str
    spec: SamplesSpec
    sample_set: SampleSet
    batch_size: int
    load: LoadSpec
    folder: str
    rows: tuple[str, ...] = ()

    def flavor(self) -> Flavor:
        """.tflite files need neither Keras nor the user's code."""
        return Flavor.CLEAN if flatbuffer.is_tflite(self.path) else Flavor.KERAS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One batch: ids and numbers of its rows, and outputs by name, (rows, ...) each."""

    ids: tuple[str, ...]
    rows: np.ndarray
    outputs: dict[str, np.ndarray]


def run_side(task: SideTask, reporter: Reporter) -> None:
    """Hands over {inputs: [name], outputs: [name], notes, kind} once they are known, then {batch, per_call: [name]}, see
    `call_groups`, writes answers batch by batch, and at last hands over {rows_seen}. `kind`: the variant whose default gates
    count for such a candidate.

    Raises:
      ModelError: what keeps the artifact from loading, the rows from fitting, or the runtime from running.
    """
    reporter.stage(Stage.LOAD, subject=task.side)
    signature, renamed, on_rows, notes = _load(task)
    names = [spec.name for spec in signature.outputs]
    reporter.result({"inputs": list(signature.input_names()), "outputs": names, "notes": notes, "kind": _kind(task.path)})
    reporter.stage(Stage.SAMPLES, subject=task.side)
    spec = _own_spec(task.spec, signature)
    binding = bind(task.sample_set, spec, signature, samples_name=SAMPLES)
    bound = tuple(
        dataclasses.replace(entry, input=dataclasses.replace(entry.input, name=renamed.get(entry.input.name, entry.input.name)))
        for entry in binding.inputs
    )
    binding = dataclasses.replace(binding, inputs=bound)
    reporter.stage(Stage.EVALUATE, subject=task.side)
    wanted = set(task.rows)
    with open(os.path.join(task.folder, "outputs.json"), "w", encoding="utf-8") as file:
        json.dump(names, file)
    seen = RowsSeen()
    for number, batch in enumerate(_batches(task, binding)):
        seen += RowsSeen.of(batch.inputs, {}, {})
        if number == 0:
            run, calls = on_rows(batch.inputs)
            reporter.result(dataclasses.asdict(calls))
        outputs = run(batch.inputs)
        rows = np.arange(batch.first_row, batch.first_row + len(batch.ids)) if batch.rows is None else batch.rows
        stored = {f"output {name}": outputs[name] for name in names}
        arrays_file.write(_batch_path(task.folder, number), {"ids": np.array(batch.ids, np.str_), "rows": rows, **stored})
        for place in [place for place, name in enumerate(batch.ids) if name in wanted]:
            inputs = {name: np.asarray(value[place]) for name, value in batch.inputs.items()}
            arrays_file.write(os.path.join(task.folder, f"row_{rows[place]}.npz"), inputs)
    reporter.result({"rows_seen": seen.to_json()})


def _kind(path: str) -> str:
    if not flatbuffer.is_tflite(path):
        return quantize.FLOAT32
    with open(path, "rb") as file:
        return claims.kind_of(held_quantized.read(file.read()))


def read_answers(folder: str) -> Iterator[Answers]:
    """The batches that `run_side` wrote, in order."""
    with open(os.path.join(folder, "outputs.json"), encoding="utf-8") as file:
        names = json.load(file)
    number = 0
    while os.path.exists(_batch_path(folder, number)):
        arrays = arrays_file.read(_batch_path(folder, number))
        outputs = {name: arrays[f"output {name}"] for name in names}
        yield Answers(ids=tuple(arrays["ids"].tolist()), rows=arrays["rows"], outputs=outputs)
        number += 1


def read_inputs(folder: str, row: int) -> dict[str, np.ndarray]:
    """The inputs of one row that the task asked to keep, without the batch axis."""
    return arrays_file.read(os.path.join(folder, f"row_{row}.npz"))


def _batch_path(folder: str, number: int) -> str:
    return os.path.join(folder, f"{number:08d}.npz")


def _batches(task: SideTask, binding: Any) -> Iterator[sample_set.Batch]:
    for shard in task.sample_set.shards:
        yield from batches.read_batches(shard, binding, task.batch_size)


def _own_spec(spec: SamplesSpec, signature: Signature) -> SamplesSpec:
    """The part of the `inputs` mapping that belongs to this side. Where the side has one input and the mapping one entry, the
    entry is for that input even if the name is the other side's.
    """
    names = signature.input_names()
    own = {name: column for name, column in spec.inputs.items() if name in names}
    if not own and len(names) == 1 and len(spec.inputs) == 1:
        own = dict.fromkeys(names, next(iter(spec.inputs.values())))
    return spec.model_copy(update={"inputs": own})


def _load(task: SideTask) -> tuple[Signature, Mapping[str, str], OnRows, list[str]]:
    """The artifact's signature under its own input names, the names under which rows are read instead, the function that runs it,
    and notes.
    """
    follow(task.path, task.load.links)  # before anything is read through it
    if flatbuffer.is_tflite(task.path):
        return _load_tflite(task.path, task.load.trust)
    from liteferry import checkpoints
    from liteferry.loading import loaders, tracing

    facts = checkpoints.examine(task.path, links=task.load.links, has_builder=task.load.builder is not None)
    columns = columns_as_inputs(task.sample_set, task.spec)
    model = loaders.load(task.path, facts, task.load, sample_columns=columns)
    traced = tracing.trace(model)
    signature = dataclasses.replace(model.signature, outputs=traced.signature.outputs)

    def on_rows(inputs: Mapping[str, np.ndarray]) -> tuple[Run, Calls]:
        decided = tracing.on_rows(traced, inputs)
        return decided.run, decided.calls

    return signature, traced.renamed, on_rows, [f"{facts.kind.value}, computed by {model.oracle}", *model.warnings]


def _load_tflite(path: str, trust: Collection[str] = ()) -> tuple[Signature, Mapping[str, str], OnRows, list[str]]:
    with open(path, "rb") as file:
        content = file.read()
    refuse_unsafe_tflite(path, content, trust=trust)
    contract = flatbuffer.read_contract(content)
    repeated = sorted(
        {t.name for side in (contract.inputs, contract.outputs) for t in side if [u.name for u in side].count(t.name) > 1}
    )
    if repeated:
        raise ModelError(
            ReasonCode.CONVERT_FAILED, Stage.LOAD, f"{path}: has no signature and several tensors named {repeated[0]!r}"
        )
    notes = [
        "LiteRT file" if flatbuffer.has_signature(content) else "LiteRT file without a signature: names are those of tensors"
    ]
    for side, tensors in (("input", contract.inputs), ("output", contract.outputs)):
        notes += [
            f"{side} {t.name!r} is {t.dtype}, scale {t.scale:g}, zero point {t.zero_point or 0}" for t in tensors if t.scale
        ]
    sides = (
        tuple(TensorSpec(name=t.name, shape=_free_batch(t.shape), dtype="float32" if t.scale else t.dtype) for t in tensors)
        for tensors in (contract.inputs, contract.outputs)
    )
    inputs, outputs = sides
    signatures = flatbuffer.signature_names(content)
    if len(signatures) > 1:
        notes.append(f"of its signatures {', '.join(signatures)} the first is compared")
    runner = runners.LiteRTRunner(content)
    runner.leave_more_signatures()
    return Signature(inputs=inputs, outputs=outputs), {}, lambda rows: (runner.run, runner.decide_calls(rows)), notes


def _free_batch(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The shape with a free first dimension: the runner handles a fixed batch itself, and takes any number of rows."""
    return (None, *shape[1:]) if shape else shape
