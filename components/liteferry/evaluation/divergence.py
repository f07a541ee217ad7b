"""Finds where a variant begins to differ from the model: its inner tensors are compared with those of a correct file or graph, in
order of execution.

This runs only where parity has failed, on a few rows, in a process of its own. It explains a verdict and does not change it:
where it finds nothing, or its process dies, the report has no explanation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from liteferry.errors import ReasonCode
from liteferry.evaluation.evaluate import candidates_of
from liteferry.evaluation.results import SAVED_MODEL, Evaluation, own_signature
from liteferry.evaluation.verdict import case_of_run, verdict
from liteferry.json_records import decode
from liteferry.loading import saved_functions
from liteferry.plan import bound_rows
from liteferry.plan.local_inputs import InputNeeds, hold_inputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import Flavor, Reporter, SandboxSpec
from liteferry.storage.local_cache import NoRoomError
from liteferry.tflite import converter_errors, flatbuffer
from liteferry.tflite.quantize import FLOAT32
from liteferry.types import DivergingTensor, ExportedModel, Signature, TensorError

_ROWS = 4
_MOST_BATCHES = 256  # the most rows read while searching for the worst row
_MOST_TENSORS = 5
_MOST_ERRORS = 400
_DIVERGED = (ReasonCode.PARITY_OUT_OF_TOLERANCE, ReasonCode.PARITY_NONFINITE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalisationTask:
    """One model. `candidates`: variant -> path of a file that failed. `reference`: the float32 file if it is correct, else None:
    then the SavedModel's graph is the reference. `row`: the worst row.
    """

    plan: ModelPlan
    signature: Signature
    renamed_inputs: Mapping[str, str]
    candidates: Mapping[str, str]
    reference: str | None
    saved_model: str
    row: int
    layers: Mapping[str, str]
    per_call: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Localised:
    """`tensors`: variant -> the first tensors that diverge, of those for which there are some; `errors`: of every inner tensor,
    in order of execution. `seconds`: of the search.
    """

    tensors: Mapping[str, tuple[DivergingTensor, ...]] = dataclasses.field(default_factory=dict)
    errors: Mapping[str, tuple[TensorError, ...]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def told_in(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation with what was found."""
        return dataclasses.replace(evaluation, diverging=self.tensors, tensor_errors=self.errors, localise_seconds=self.seconds)


def tasks_of(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> list[LocalisationTask]:
    """The unit of work of one model; empty where every variant that ran is within its gates, raised by noise or not: it uses
    the same `verdict` as the report.
    """
    saved = exported.saved_model
    if saved is None:
        return []
    paths = candidates_of(plan, exported)
    failed, rows = {}, []
    for name, result in evaluation.candidates.items():
        if name not in paths or name == SAVED_MODEL or result.reason is not None or not result.stats:
            continue
        judged = verdict(case_of_run(name, plan, exported, evaluation))
        if judged.reason is not None and judged.reason.code in _DIVERGED:
            failed[name] = paths[name]
            rows += [example["row"] for stats in result.stats.values() for example in stats.worst_examples()[:1]]
    if not failed:
        return []
    is_float_right = FLOAT32 in paths and FLOAT32 in evaluation.candidates and FLOAT32 not in failed
    return [
        LocalisationTask(
            plan=plan,
            signature=saved.proven,
            renamed_inputs=saved.renamed_inputs,
            candidates=failed,
            reference=paths[FLOAT32] if is_float_right else None,
            saved_model=paths[SAVED_MODEL],
            row=rows[0] if rows else 0,
            layers=exported.layers,
            per_call=saved.per_call_outputs,
        )
    ]


def localise_isolated(task: LocalisationTask) -> Localised:
    """Runs one task in a sandbox. Never raises for what a file does."""
    needs = InputNeeds(shards=_shards_with(task))
    try:
        with hold_inputs([task.plan], lambda _: needs) as here:
            if here.problems:
                return Localised()
            task = dataclasses.replace(task, plan=here.plans[0])
            outcome = here.run(find, task, SandboxSpec(flavor=Flavor.CLEAN, limits=task.plan.limits))
    except NoRoomError:
        return Localised()
    tensors = {
        message["variant"]: tuple(decode(DivergingTensor, tensor) for tensor in message["tensors"]) for message in outcome.results
    }
    errors = {message["variant"]: tuple(decode(TensorError, one) for one in message["errors"]) for message in outcome.results}
    return Localised(tensors=tensors, errors=errors, seconds=outcome.seconds)


def find(task: LocalisationTask, reporter: Reporter) -> None:
    """Runs in a sandbox without the user's code. Hands over {variant, tensors, errors} for every candidate."""
    rows = _rows(task)
    per_call = task.per_call
    expected = _Graph(task.saved_model) if task.reference is None else _file_tensors(task.reference, rows, per_call)
    for name, path in task.candidates.items():
        observed = _file_tensors(path, rows, per_call)
        wanted = (
            expected.values(observed, rows)
            if isinstance(expected, _Graph)
            else {tensor.node: tensor.value for tensor in expected}
        )
        found = first_divergences(wanted, observed, layers=task.layers)
        errors = [dataclasses.asdict(one) for one in tensor_errors(wanted, observed)]
        reporter.result({"variant": name, "tensors": [dataclasses.asdict(tensor) for tensor in found], "errors": errors})


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InnerTensor:
    """The result of one operator of a file. `position`: its place in order of execution; `value`: as floats; `constants`: names
    of its weights; `node`: the name of its node in the SavedModel's graph, by which the tensors of two files are matched.
    """

    name: str
    operator: str
    position: int
    value: np.ndarray
    constants: tuple[str, ...] = ()
    node: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "node", self.node or self.name)


def first_divergences(
    expected: Mapping[str, np.ndarray], observed: Sequence[InnerTensor], *, layers: Mapping[str, str]
) -> tuple[DivergingTensor, ...]:
    """The first tensors whose error is at least half of the largest one, in order of execution.

    Quantisation makes every tensor a little wrong; half of the largest error marks where the error becomes large for this
    model. Errors are relative to the largest expected value; NaN or infinity on one side only is an infinite error.

    Args:
      expected: node -> value. observed: in order of execution; tensors without one of the same node and shape are ignored.
    """
    compared = _compared(expected, observed)
    bar = max((relative for _, _, relative in compared), default=0.0) / 2
    return tuple(
        DivergingTensor(
            tensor=tensor.name,
            layers=_layers_of([tensor.name], layers) or _layers_of(tensor.constants, layers),
            operator=tensor.operator,
            position=tensor.position,
            max_abs=max_abs if np.isfinite(max_abs) else None,
            relative=relative if np.isfinite(relative) else None,
        )
        for tensor, max_abs, relative in compared
        if relative > 0 and relative >= bar
    )[:_MOST_TENSORS]


def tensor_errors(expected: Mapping[str, np.ndarray], observed: Sequence[InnerTensor]) -> tuple[TensorError, ...]:
    """The error of every inner tensor in order of execution; of a very deep file, of the first ones. Arguments as above."""
    return tuple(
        TensorError(
            tensor=tensor.name,
            operator=tensor.operator,
            position=tensor.position,
            relative=float(f"{relative:.4g}") if np.isfinite(relative) else None,
        )
        for tensor, _, relative in _compared(expected, observed)[:_MOST_ERRORS]
    )


def _compared(expected: Mapping[str, np.ndarray], observed: Sequence[InnerTensor]) -> list[tuple[InnerTensor, float, float]]:
    """(tensor, largest difference, the same over the largest expected value) of each that both sides have."""
    pairs = [(tensor, expected.get(tensor.node)) for tensor in observed]
    return [
        (tensor, *_errors(wanted, tensor.value))
        for tensor, wanted in pairs
        if wanted is not None and wanted.shape == tensor.value.shape and wanted.size
    ]


def _errors(expected: np.ndarray, observed: np.ndarray) -> tuple[float, float]:
    left, right = expected.astype(np.float64), observed.astype(np.float64)
    finite = np.isfinite(left) & np.isfinite(right)
    if not np.array_equal(np.isfinite(left), np.isfinite(right)):
        return float("inf"), float("inf")
    max_abs = float(np.max(np.abs(left - right), where=finite, initial=0.0))
    largest = float(np.max(np.abs(left), where=finite, initial=0.0))
    return max_abs, max_abs / max(largest, float(np.finfo(np.float32).tiny))


def _layers_of(tensors: Sequence[str], layers: Mapping[str, str]) -> tuple[str, ...]:
    """The layers in a tensor's name: a fused operator's tensor names all of them, separated by semicolons. The name of a model's
    output has no layer in it.
    """
    found = (converter_errors.layer_of(node, layers) for tensor in tensors for node in tensor.split(";"))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def _shards_with(task: LocalisationTask) -> list[int]:
    """The first shard, and the one that holds the row."""
    assert task.plan.samples.sample_set is not None
    shards = task.plan.samples.sample_set.shards
    parts = [(index, part) for index, shard in enumerate(shards) for part in (shard, *shard.more)]
    return sorted({0, *(index for index, part in parts if 0 <= task.row - part.first_row < part.row_count)})


def _rows(task: LocalisationTask) -> dict[str, np.ndarray]:
    """A few rows of the batch with the worst row, that row first; without a worst row, of the first batch."""
    binding = bound_rows.bind(task.plan, own_signature(task.signature, task.renamed_inputs), task.renamed_inputs)
    assert task.plan.samples.sample_set is not None
    first: dict[str, np.ndarray] | None = None
    seen = 0
    for shard_index in _shards_with(task):
        for batch in bound_rows.batches(task.plan, binding, shard_index=shard_index):
            first = first or {name: value[:_ROWS] for name, value in batch.inputs.items()}
            at = task.row - batch.first_row
            if 0 <= at < len(batch.ids):
                order = [at, *(index for index in range(len(batch.ids)) if index != at)][:_ROWS]
                return {name: value[order] for name, value in batch.inputs.items()}
            seen += 1
            if seen == _MOST_BATCHES:
                return first
    assert first is not None
    return first


def _file_tensors(path: str, rows: Mapping[str, np.ndarray], per_call: Sequence[str]) -> list[InnerTensor]:
    """Runs a file once, on as many of the rows as its batch takes, and reads the result of every operator."""
    from liteferry.tflite.runners import LiteRTRunner

    with open(path, "rb") as file:
        content = file.read()
    runner = LiteRTRunner(content, keep_inner_tensors=True, per_call=per_call)
    size = runner.fixed_batch or len(next(iter(rows.values())))
    runner.run({name: np.resize(value, (size, *value.shape[1:])) for name, value in rows.items()})
    entries = flatbuffer.read_inner_tensors(content)
    names = {name for inner in entries for name in (inner.name, *inner.constants)}
    return [
        InnerTensor(
            name=inner.name,
            operator=inner.operator,
            position=inner.position,
            value=value,
            constants=inner.constants,
            node=_node_of(inner, names),
        )
        for inner in entries
        if (value := runner.inner_tensor(inner.index)) is not None
    ]


def _node_of(inner: flatbuffer.InnerTensorEntry, names: Set[str]) -> str:
    """The node of a tensor to whose name the converter added a number, since a weight in the file has the node's name."""
    node = inner.name.rstrip("0123456789")
    return node if node != inner.name and node in names and inner.operator != "DEQUANTIZE" else inner.name


class _Graph:
    """The SavedModel's graph with constants in place of its variables, so that its nodes have the same
    names as a file's tensors.
    """

    def __init__(self, directory: str) -> None:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        keep = tf.saved_model.load(directory)
        function = keep.signatures[saved_functions.proven_signature(saved_functions.read_metadata(directory))]
        self._frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
        nodes = self._frozen.graph.as_graph_def().node
        self._places = {converter_errors.own_name(node.name): (index, node.name) for index, node in enumerate(nodes)}

    def values(self, tensors: Sequence[InnerTensor], rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Node -> the value of the graph node of that name; of several fused nodes the last one."""
        import tensorflow as tf

        wanted = {tensor.node: node for tensor in tensors if (node := self._node(tensor)) is not None}
        fetches = [self._frozen.graph.get_tensor_by_name(f"{node}:0") for node in wanted.values()]
        pruned = self._frozen.prune(feeds=self._frozen.inputs, fetches=fetches)
        by_name = {tensor.op.name: tensor for tensor in self._frozen.inputs}
        size = next((len(tensor.value) for tensor in tensors if tensor.value.ndim), 1)
        fed = [np.resize(rows[name], (size, *rows[name].shape[1:])) for name in by_name]
        values = pruned(*(tf.constant(value) for value in fed))
        return {name: value.numpy() for name, value in zip(wanted, values, strict=True)}

    def _node(self, tensor: InnerTensor) -> str | None:
        found: Iterator[Any] = (self._places[part] for part in tensor.node.split(";") if part in self._places)
        best = max(found, default=None)
        return None if best is None else str(best[1])
