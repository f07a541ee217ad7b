"""A SavedModel directory as `LoadedModel`: the graph in it is the trained model, whatever library wrote it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import ref_variables
from liteferry.loading.model import LoadedModel, Tensors
from liteferry.loading.output_names import named_outputs
from liteferry.types import Signature, TensorSpec, keyword_of

_DEFAULT = "serving_default"
_INITIALIZER = "__saved_model_init_op"
_SERVE, _TRAIN = "serve", "train"
_SPARSE_SPEC, _RAGGED_SPEC = 1, 3  # of TypeSpecProto
_PIECE = re.compile(r"(.+)_\d+")  # TensorFlow's suffixes for the second and third component of an argument


def load(path: str, saved_model: Any, *, sample_columns: Sequence[TensorSpec] = (), signature: str | None = None) -> LoadedModel:
    """Loads a SavedModel directory and takes its serving function.

    Args:
      path: the directory.
      saved_model: its parsed `saved_model.pb`, found to be safe.
      sample_columns: columns that may feed its inputs; an input of unknown rank takes its column's rank.
      signature: the signature to use instead of serving_default.

    Raises:
      ModelError: LOAD_CORRUPT when TensorFlow cannot read it, LOAD_UNSUPPORTED when it has no function to serve.
    """
    import tensorflow as tf

    tags = serving_tags(saved_model)
    try:
        loaded = tf.saved_model.load(ref_variables.lifted_copy(path, saved_model, tags) or path, tags=tags)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{path}: TensorFlow cannot load this SavedModel ({type(error).__name__}: {error})",
        ) from error
    signatures = {name: function for name, function in dict(getattr(loaded, "signatures", {})).items() if name != _INITIALIZER}
    name, warnings = _choose(signatures) if signature is None else _asked(path, signatures, signature)
    served = _DEFAULT if name is None or _DEFAULT not in signatures else name
    if name is not None:
        function = signatures.pop(name)
        if signature is not None and name != served:
            signatures[name] = function  # exported as serving_default, and also kept under its own name
        specs, call = by_name(function)
    else:
        signatures = {}
        function, specs = _plain_call(path, loaded)
        call = _by_position(function, specs)
        warnings = ("it has no signature: its __call__ is exported",)
    _refuse_pieces(path, saved_model, specs, sample_columns)
    if tags is not None and _TRAIN in tags:
        warnings = (*warnings, "it has no graph but the one it was trained with (tag train), which is exported")
    return LoadedModel(
        call=call,
        signature=Signature(inputs=tuple(_with_rank(spec, specs, sample_columns) for spec in specs), outputs=()),
        oracle=f"tensorflow {tf.__version__} (the SavedModel's own graph)",
        keep=(loaded, function),
        warnings=warnings,
        more_signatures=signatures,
        signature_name=served,
        own_name=name or _DEFAULT,
    )


def serving_tags(saved_model: Any) -> list[str] | None:
    """Of several graphs, the tags of the one to serve on a CPU: never a training graph if there is another. None: there is only
    one.
    """
    every = [sorted(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    if len(every) == 1:
        return every[0] if _TRAIN in every[0] else None
    return min(every, key=lambda tags: (_TRAIN in tags, bool({"gpu", "tpu"} & set(tags)), _SERVE not in tags, len(tags), tags))


def _with_rank(spec: TensorSpec, specs: Sequence[TensorSpec], columns: Sequence[TensorSpec]) -> TensorSpec:
    """Gives an input of unknown rank, which cannot be converted, the rank of the samples."""
    found = [column for column in columns if column.name == spec.name] or ([*columns] if len(specs) == len(columns) == 1 else [])
    return dataclasses.replace(spec, shape=found[0].shape) if spec.shape is None and found else spec


def _refuse_pieces(path: str, saved_model: Any, specs: Sequence[TensorSpec], columns: Sequence[TensorSpec]) -> None:
    """A signature with a ragged or sparse tensor takes the tensor's components, whose rows are not the samples' rows.

    Raises:
      ModelError: LOAD_UNSUPPORTED where the samples have no column for one of them.
    """
    kinds = {
        value.type_spec_value.type_spec_class
        for meta_graph in saved_model.meta_graphs
        for function in meta_graph.object_graph_def.concrete_functions.values()
        for value in _values_in(function.canonicalized_input_signature)
        if value.HasField("type_spec_value")
    }
    fed, names = {column.name for column in columns}, {spec.name for spec in specs}
    is_piece = any(
        spec.dtype == "int64" and spec.name not in fed and (found := _PIECE.fullmatch(spec.name)) and found[1] in names
        for spec in specs
    )
    if columns and is_piece and kinds & {_SPARSE_SPEC, _RAGGED_SPEC}:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path}: its function takes a ragged or sparse tensor, so its signature takes the pieces of one "
            f"({', '.join(sorted(names))}), which have no row for each row of the samples; save a signature that takes a dense "
            "tensor and makes the ragged one inside",
        )


def _values_in(value: Any) -> Iterator[Any]:
    yield value
    for inner in (*value.list_value.values, *value.tuple_value.values, *value.dict_value.fields.values()):
        yield from _values_in(inner)


def _dims(shape: Any) -> tuple[int | None, ...] | None:
    """None for an unknown rank, which is not rank 0."""
    return None if shape.rank is None else tuple(shape.as_list())


def by_name(function: Any) -> tuple[tuple[TensorSpec, ...], Any]:
    """The inputs of a signature, and the function that calls it with tensors by their names."""
    # Sorted: a loaded signature's names come in an order that changes from process to process, and the report's must not.
    _, keywords = function.structured_input_signature
    specs = tuple(
        TensorSpec(name=_own_name(keyword, spec), shape=_dims(spec.shape), dtype=spec.dtype.name)
        for keyword, spec in sorted(keywords.items())
        if spec is not None
    )

    def call(tensors: Tensors) -> Tensors:
        return named_outputs(dict(sorted(function(**tensors).items())), ())

    return specs, call


def _own_name(keyword: str, spec: Any) -> str:
    """The name of an input in the file, of which TensorFlow makes a keyword; the function takes both."""
    return str(spec.name) if spec.name and keyword_of(spec.name) == keyword else keyword


def _by_position(function: Any, specs: Sequence[TensorSpec]) -> Any:
    def call(tensors: Tensors) -> Tensors:
        return named_outputs(function(*(tensors[spec.name] for spec in specs)), ())

    return call


def _asked(path: str, signatures: Mapping[str, Any], name: str) -> tuple[str, tuple[str, ...]]:
    if name not in signatures:
        there = ", ".join(sorted(signatures)) or "none"
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path} has no signature {name!r}; its signatures: {there}. Correct `signature` of its models entry (--signature)",
        )
    others = sorted(set(signatures) - {name})
    kept = f"; kept beside it, and not proven: {', '.join(others)}" if others else ""
    return name, (f"signature {name!r} is what is proven and lowered{kept}",)


def _choose(signatures: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    if _DEFAULT in signatures:
        return _DEFAULT, ()
    if len(signatures) == 1:
        name = next(iter(signatures))
        return name, (f"its only signature {name!r} is exported as {_DEFAULT!r}",)
    if signatures:
        name = _SERVE if _SERVE in signatures else min(signatures)
        return name, (f"it has no {_DEFAULT!r}: {name!r} of {', '.join(sorted(signatures))} is exported as {_DEFAULT!r}",)
    return None, ()


def _plain_call(path: str, loaded: Any) -> tuple[Any, tuple[TensorSpec, ...]]:
    """The inference trace of `__call__`, for a SavedModel without signatures."""
    for name in ("__call__", _SERVE):
        for function, specs in _traces(getattr(loaded, name, None)):
            return function, specs
    raise ModelError(
        ReasonCode.LOAD_UNSUPPORTED,
        Stage.LOAD,
        f"{path} has no signature and no __call__ that takes tensors alone; save it again with signatures={{'{_DEFAULT}': ...}}",
    )


def _traces(function: Any) -> Iterator[tuple[Any, tuple[TensorSpec, ...]]]:
    """A restored function's traces that take tensors, those traced with training=False first."""
    import tensorflow as tf

    traces = getattr(function, "concrete_functions", None) or ()

    def is_training(trace: Any) -> bool:
        arguments, keywords = trace.structured_input_signature
        return True in [value for value in (*arguments, *keywords.values()) if isinstance(value, bool)]

    for trace in sorted(traces, key=is_training):
        arguments, keywords = trace.structured_input_signature
        tensors = [value for value in tf.nest.flatten([arguments, keywords]) if isinstance(value, tf.TensorSpec)]
        positional = [value for value in arguments if isinstance(value, tf.TensorSpec)]
        if tensors and len(positional) == len(tensors):
            names = [str(spec.name or f"input_{index}") for index, spec in enumerate(tensors)]
            yield (
                trace,
                tuple(
                    TensorSpec(name=name, shape=_dims(spec.shape), dtype=spec.dtype.name)
                    for name, spec in zip(names, tensors, strict=True)
                ),
            )
