"""A SavedModel directory as `LoadedModel`: the graph in it is what was trained, whatever wrote it."""

from __future__ import annotations

from typing import Any

from liteferry.checkpoints.model import LoadedModel, Tensors
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.types import Signature, TensorSpec

_DEFAULT = "serving_default"


def load(path: str) -> LoadedModel:
    """Loads a SavedModel directory and takes its serving function.

    Raises:
      ModelError: LOAD_CORRUPT when TensorFlow cannot read it, LOAD_UNSUPPORTED when it has no signature to serve.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{path}: TensorFlow cannot load this SavedModel ({type(error).__name__}: {error})",
        ) from error
    function, warnings = _serving_function(path, loaded)
    _, keywords = function.structured_input_signature
    inputs = tuple(
        TensorSpec(name=name, shape=_dims(spec.shape), dtype=spec.dtype.name)
        for name, spec in keywords.items()
        if spec is not None
    )

    def call(tensors: Tensors) -> Tensors:
        return dict(function(**tensors))

    return LoadedModel(
        call=call,
        signature=Signature(inputs=inputs, outputs=()),
        oracle=f"tensorflow {tf.__version__} (the SavedModel's own graph)",
        keep=(loaded, function),
        warnings=warnings,
    )


def _dims(shape: Any) -> tuple[int | None, ...]:
    if shape.rank is None:
        return ()
    return tuple(shape.as_list())


def _serving_function(path: str, loaded: Any) -> tuple[Any, tuple[str, ...]]:
    signatures = dict(getattr(loaded, "signatures", {}))
    signatures.pop("__saved_model_init_op", None)
    if _DEFAULT in signatures:
        others = sorted(set(signatures) - {_DEFAULT})
        warnings = (f"only {_DEFAULT!r} is exported; the checkpoint also has: {', '.join(others)}",) if others else ()
        return signatures[_DEFAULT], warnings
    if len(signatures) == 1:
        name, function = next(iter(signatures.items()))
        return function, (f"its only signature {name!r} is exported as {_DEFAULT!r}",)
    found = ", ".join(sorted(signatures)) or "none"
    raise ModelError(
        ReasonCode.LOAD_UNSUPPORTED,
        Stage.LOAD,
        f"{path} has no {_DEFAULT!r} signature (signatures: {found}); save it again with signatures={{'{_DEFAULT}': ...}}",
    )
