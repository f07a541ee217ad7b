"""A checkpoint on disk -> LoadedModel. What wrote the file decides what loads it. Runs inside a sandbox only."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.checkpoints import graph_model, keras_model, user_code
from liteferry.checkpoints.config_scan import refuse_untrusted, scan
from liteferry.checkpoints.detect import CheckpointFacts, Kind
from liteferry.checkpoints.model import LoadedModel, LoadSpec
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.types import CustomObject, TensorSpec

# How Keras 3 and tf_keras say that a class or function is not there.
_UNKNOWN_OBJECT = re.compile(
    r"Unknown [a-z ]+:? '?(?P<name>[\w.>]+)|Could not (?:locate|find) (?:class|function|object) '?(?P<other>[\w.>]+)"
)


def load(path: str, facts: CheckpointFacts, spec: LoadSpec, *, sample_columns: Sequence[TensorSpec]) -> LoadedModel:
    """Loads any kind of checkpoint.

    Args:
      path: local file or directory.
      facts: what `detect.examine` read off it.
      spec: the user's code, trust and builder.
      sample_columns: sample columns under the names of the inputs they feed; see `keras_model.wrap`.

    Raises:
      ModelError: with a LOAD_ code.
    """
    if facts.kind in (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS):
        return graph_model.load(path)
    before_keras_3 = facts.written_before_keras_3()
    if before_keras_3:
        user_code.route_to_tf_keras(plain_keras=facts.kind is not Kind.H5_WEIGHTS)
    offered = user_code.gather(spec.modules, spec.custom_objects)
    try:
        model = _load_keras(path, facts, spec, offered.objects, before_keras_3=before_keras_3)
    except ModelError as error:
        if not offered.problems:
            raise
        hint = "; ".join(offered.problems)
        raise ModelError(error.reason.code, error.reason.stage, f"{error.reason.message} (also: {hint})") from error
    custom = _describe_custom(facts, offered.objects)
    return keras_model.wrap(model, sample_columns=sample_columns, custom=custom, warnings=offered.problems)


def _load_keras(path: str, facts: CheckpointFacts, spec: LoadSpec, offered: Mapping[str, Any], *, before_keras_3: bool) -> Any:
    if facts.config is not None:
        refuse_untrusted(path, scan(facts.config), offered=offered, trust=spec.trust)
    if spec.builder is not None:
        return _build_and_fill(path, facts, spec)
    if facts.kind is Kind.H5_WEIGHTS:
        raise ModelError(
            ReasonCode.LOAD_NEEDS_BUILDER,
            Stage.LOAD,
            f'{path} holds weights without an architecture; add `builder: "module:function"`, a callable that returns the model, '
            "beside `checkpoints` in the job file",
        )
    return _load_whole(path, offered, before_keras_3=before_keras_3, trust_lambda="lambda" in spec.trust)


def _load_whole(path: str, offered: Mapping[str, Any], *, before_keras_3: bool, trust_lambda: bool) -> Any:
    try:
        if before_keras_3:
            import tf_keras

            safety = {"safe_mode": not trust_lambda} if path.endswith(".keras") else {}
            return tf_keras.models.load_model(path, custom_objects=dict(offered), compile=False, **safety)
        import keras

        return keras.saving.load_model(path, custom_objects=dict(offered), compile=False, safe_mode=not trust_lambda)
    except Exception as error:
        raise _load_error(path, error) from error


def _load_error(path: str, error: Exception) -> ModelError:
    unknown = _UNKNOWN_OBJECT.search(str(error))
    if unknown:
        name = unknown["name"] or unknown["other"]
        return ModelError(
            ReasonCode.LOAD_UNKNOWN_OBJECT,
            Stage.LOAD,
            f"{path} needs {name}, which is not Keras's and was not given; list the file that defines it under `modules`, "
            "or map the name under `custom_objects`",
        )
    return ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, f"{path}: {type(error).__name__}: {error}")


def _build_and_fill(path: str, facts: CheckpointFacts, spec: LoadSpec) -> Any:
    assert spec.builder is not None
    builder = user_code.resolve(spec.builder, key="builder")
    try:
        model = builder(**spec.builder_args)
    except Exception as error:
        arguments = ", ".join(f"{name}={value!r}" for name, value in spec.builder_args.items())
        message = f"builder {spec.builder}({arguments}) raised {type(error).__name__}: {error}"
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, message) from error
    try:
        model.load_weights(_named_for_its_layout(path, facts))
    except Exception as error:
        message = f"the weights in {path} do not fit the model of builder {spec.builder}: {type(error).__name__}: {error}"
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, message) from error
    return model


def _named_for_its_layout(path: str, facts: CheckpointFacts) -> str:
    """Both Kerases choose the reader by the file's name, which may lie; a link with the right ending in the scratch folder
    does not.
    """
    if facts.kind is Kind.KERAS:
        return path
    ending = ".h5" if facts.weights_layout != "keras_v3" else ".weights.h5"
    stem = os.path.basename(path).removesuffix(".h5").removesuffix(".hdf5").removesuffix(".weights")
    if os.path.basename(path) == stem + ending:
        return path
    link = os.path.abspath(stem + ending)
    os.symlink(os.path.abspath(path), link)
    return link


def _describe_custom(facts: CheckpointFacts, offered: Mapping[str, Any]) -> tuple[CustomObject, ...]:
    """Which of the user's objects the architecture names, and exactly which source they came from."""
    if facts.config is None:
        return ()
    wanted = scan(facts.config).custom_objects.keys() | _class_names(facts.config)
    return tuple(
        CustomObject(
            name=name,
            module=str(getattr(value, "__module__", "")),
            source_digest=user_code.source_digest(value),
            package_version=_package_version(value),
        )
        for name, value in sorted(offered.items())
        if name in wanted
    )


def _class_names(config: Mapping[str, Any]) -> set[str]:
    from liteferry.checkpoints.config_scan import serialized_objects

    return {str(node["class_name"]) for node in serialized_objects(config)}


def _package_version(value: Any) -> str | None:
    package = str(getattr(value, "__module__", "")).split(".")[0]
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
