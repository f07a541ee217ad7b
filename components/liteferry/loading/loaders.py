"""A checkpoint on disk -> LoadedModel. The library that wrote the file decides which loader is used. Runs
inside a sandbox only.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.checkpoints import architecture_facts, bytecode, config_trust, foreign, graph_scan, newer_keras, op_packages
from liteferry.checkpoints.config_scan import refuse_untrusted, scan, serialized_objects
from liteferry.checkpoints.detection import BY_PATH, CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import (
    config_rewrite,
    custom_objects,
    derived_state,
    graph_model,
    keras_model,
    same_function,
    unfilled,
    user_code,
)
from liteferry.loading.built import build_and_fill
from liteferry.loading.model import LoadedModel, LoadSpec
from liteferry.loading.weights import by_path, legacy, new_layout, whole
from liteferry.types import CustomObject, TensorSpec

# The messages of Keras 3 and tf_keras for a class or function that they cannot find.
_UNKNOWN_OBJECT = re.compile(
    r"Unknown [a-z ]+:? '?(?P<name>[\w.>]+)|Could not (?:locate|find) (?:class|function|object) '?(?P<other>[\w.>]+)"
)
_SAVED_MODELS = (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS)
_WITHOUT_ARCHITECTURE = (Kind.H5_WEIGHTS, Kind.TF_CHECKPOINT)


def load(path: str, facts: CheckpointFacts, spec: LoadSpec, *, sample_columns: Sequence[TensorSpec]) -> LoadedModel:
    """Loads any kind of checkpoint.

    Args:
      path: local file or directory.
      facts: as `detection.examine` returned them.
      spec: the user's code, trust and builder.
      sample_columns: sample columns under the names of the inputs they feed; see `keras_model.wrap`.

    Raises:
      ModelError: with a LOAD_ code.
    """
    place = facts.path or path
    if facts.kind in _SAVED_MODELS:
        saved_model = graph_scan.read(place, shown=path)
        refuse_graph(path, saved_model, spec)
        try:
            return graph_model.load(place, saved_model, sample_columns=sample_columns, signature=spec.signature)
        except ModelError as error:
            raise _as_named(error, place, path) from error
    if spec.signature is not None:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path} is no SavedModel, so it has no signature {spec.signature!r} to choose; remove `signature` from its models "
            "entry (--signature), or give it more signatures under `signatures`",
        )
    before_keras_3 = facts.written_before_keras_3()
    if before_keras_3 or facts.kind is Kind.TF_CHECKPOINT:
        # Where a builder makes the model, plain `keras` stays Keras 3 and the builder decides.
        user_code.route_to_tf_keras(plain_keras=facts.kind not in _WITHOUT_ARCHITECTURE)
    offered = user_code.gather(spec.modules, spec.custom_objects)
    try:
        if facts.config is not None:
            # A name that the library defines means the library's object, even if the user's code defines it too.
            theirs = offered.names() - custom_objects.own_names(_library(before_keras_3=before_keras_3))
            found = config_trust.findings(facts.config, offered=theirs, modules=spec.modules)
            config_trust.refuse(path, found, trust=spec.trust)
        if spec.builder is not None:
            model = build_and_fill(place, facts, spec, sample_columns=sample_columns)
        elif facts.kind in _WITHOUT_ARCHITECTURE:
            raise _needs_builder(path)
        else:
            model = _load_whole(place, facts, spec, offered, sample_columns=sample_columns)
    except ModelError as error:
        hint = f" (also: {'; '.join(offered.problems)})" if offered.problems else ""
        raise _as_named(error, place, path, hint=newer_keras.in_words(facts) + hint) from error
    return dataclasses.replace(
        model,
        custom=model.custom or _describe_custom(facts, offered.chosen),
        warnings=(*offered.problems, *model.warnings),
        training_layers=tuple(architecture_facts.training_layers(facts.config)),
        input_ranges=_input_ranges(facts, model),
    )


def _as_named(error: ModelError, place: str, path: str, *, hint: str = "") -> ModelError:
    """An error that names the checkpoint as the job does, instead of the copy that was loaded."""
    message = error.reason.message.replace(place, path)
    message = message.replace(place.removesuffix(".index"), path.removesuffix(".index"))  # a TensorFlow checkpoint's prefix
    return ModelError(error.reason.code, error.reason.stage, message + hint)


def refuse_graph(path: str, saved_model: Any, spec: LoadSpec) -> None:
    """Imports the user's modules where a graph needs operations that only they can register, and raises unless it may be loaded.

    Raises:
      ModelError: LOAD_UNKNOWN_OPERATION for one that is not registered, LOAD_UNSAFE for one that is not known to compute only;
        operations that the user's modules register are trusted with them.
    """
    from tensorflow.python.framework import op_def_registry

    unregistered = {name for name in graph_scan.operations(saved_model) if op_def_registry.get(name) is None}
    if unregistered and spec.modules:
        user_code.gather(spec.modules, {})
    missing = sorted(name for name in unregistered if op_def_registry.get(name) is None)
    if missing:
        raise op_packages.unknown_operations(path, missing)
    graph_scan.refuse_shadowing(path, saved_model)
    found = graph_scan.findings(saved_model, provided=unregistered.__contains__)
    config_trust.refuse(path, found, trust=spec.trust)


def _input_ranges(facts: CheckpointFacts, model: LoadedModel) -> dict[str, architecture_facts.InputRange]:
    """Under the model's own input names; older configs do not name the input of a Sequential."""
    ranges = architecture_facts.input_range(facts.config, keras_model.normalization_statistics(model.keep))
    names = model.signature.input_names()
    if len(names) == 1 and len(ranges) == 1:
        return dict(zip(names, ranges.values(), strict=True))
    return {name: expected for name, expected in ranges.items() if name in names}


def _needs_builder(path: str) -> ModelError:
    return ModelError(
        ReasonCode.LOAD_NEEDS_BUILDER,
        Stage.LOAD,
        f'{path} holds weights without an architecture; add `builder: "module:function"`, a callable that returns the model, '
        f"beside `checkpoints` in the job file{foreign.of_transformers(path)}",
    )


def _load_whole(
    path: str, facts: CheckpointFacts, spec: LoadSpec, offered: user_code.Offered, *, sample_columns: Sequence[TensorSpec]
) -> LoadedModel:
    """Loads a file that contains its own architecture, built for inference."""
    assert facts.config is not None
    library = _library(before_keras_3=facts.written_before_keras_3())
    resolved = custom_objects.resolve(path, facts.config, offered, library)
    rewritten = config_rewrite.for_inference(
        resolved.config,
        strip=spec.strip,
        offered=resolved.objects,
        is_registered=lambda name: library.saving.get_registered_object(name) is not None,
    )
    refuse_untrusted(
        path, scan(rewritten.config), offered=[*resolved.objects, *resolved.registered, config_rewrite.IDENTITY], trust=spec.trust
    )
    bytecode.refuse_other_python(path, rewritten.config)
    is_changed = rewritten.is_changed or resolved.config != facts.config
    place = config_rewrite.write_copy(path, facts, rewritten.config) if is_changed else path
    # Safe mode refuses more than Lambda layers: once the findings above are trusted, it would be in the way.
    stands_in: str | None = None
    try:
        try:
            model = _read(place, resolved, library, safe_mode=not {"lambda", "file_ops"} & set(spec.trust), facts=facts)
        except ModelError as failed:
            build = functools.partial(whole.without_weights, facts, rewritten.config, library, resolved.objects)
            error = whole.as_mismatch(failed, place, facts, build)
            model, stands_in = _read_with_the_other(place, rewritten.config, library, error)
    except ModelError as error:
        message = error.reason.message.replace(place, path)
        if rewritten.stripped:
            message += f"; this is without {', '.join(rewritten.stripped)}, which `strip` left out: it may hold weights"
        raise ModelError(error.reason.code, error.reason.stage, message) from error
    warnings = [stands_in.replace(place, path)] if stands_in else []
    if rewritten.stripped:
        config_rewrite.refuse_lost_weights(path, facts, model, rewritten.stripped)
        warnings.append(f"left out of the model by `strip`: {', '.join(rewritten.stripped)}")
    elif spec.strip:
        warnings.append(f"strip: no layer of this model is a {' or a '.join(spec.strip)}")
    is_new = keras_model.build_from_samples(model, sample_columns)
    if facts.weights_layout == BY_PATH:
        warnings += by_path.fill(path, place, facts, model)
    elif is_new:
        model.load_weights(place)
    warnings += _hold_against_file(path, place, facts, model)
    derived_state.restore(path, facts, model)
    loaded = keras_model.wrap(model, sample_columns=sample_columns, warnings=tuple(warnings))
    return dataclasses.replace(loaded, stripped=rewritten.stripped, custom=_describe_custom(facts, resolved.used))


def _hold_against_file(path: str, place: str, facts: CheckpointFacts, model: Any) -> tuple[str, ...]:
    """Checks, for every loader, that every array is used and every variable filled; returns the corrections."""
    if facts.weights_layout == BY_PATH:
        return ()  # `by_path.fill` has counted them
    if facts.kind is Kind.H5_MODEL:
        return legacy.put_right(path, place, model)
    new_layout.refuse_differences(path, facts, place, model)
    if unfilled.loads_its_own(model):
        unfilled.refuse(path, model, lambda: model.load_weights(place))
    return ()


def _library(*, before_keras_3: bool) -> Any:
    return importlib.import_module("tf_keras" if before_keras_3 else "keras")


def _read_with_the_other(path: str, config: dict[str, Any], library: Any, error: ModelError) -> tuple[Any, str]:
    """Loads with the other Keras a file that its own Keras cannot load, provided that the whole architecture is known to compute
    the same in both.

    Returns the model and a warning that says so; otherwise raises `error` with the parts that may differ.
    """
    if error.reason.code is not ReasonCode.LOAD_FAILED:
        raise error
    before_keras_3 = library.__name__ == "tf_keras"
    other = "Keras 3" if before_keras_3 else "tf_keras"
    differing = same_function.differences(config)
    if differing:
        told = (
            f"{error.reason.message}; {other} was not tried instead, since it may compute {', '.join(differing[:5])} differently"
        )
        raise ModelError(error.reason.code, error.reason.stage, told) from error
    if before_keras_3:
        user_code.route_to_keras_3()
    try:
        nothing = custom_objects.Resolved(config=config, objects={}, used={})
        model = _read(path, nothing, _library(before_keras_3=not before_keras_3), safe_mode=True)
    except ModelError as second:
        told = f"{error.reason.message}; nor can {other}: {second.reason.message}"
        raise ModelError(error.reason.code, error.reason.stage, told) from error
    why = f"{other} computes this model, since {library.__name__} cannot load it ({error.reason.message})"
    return model, f"{why}; every layer and activation in it is one that computes the same in both"


def _read(
    path: str, resolved: custom_objects.Resolved, library: Any, *, safe_mode: bool, facts: CheckpointFacts | None = None
) -> Any:
    before_keras_3 = library.__name__ == "tf_keras"
    objects = {**resolved.objects, config_rewrite.IDENTITY: config_rewrite.identity_layer(library)}
    # tf_keras knows no safe mode for legacy H5; what that would run has been refused above.
    safety = {} if before_keras_3 and not path.endswith(".keras") else {"safe_mode": safe_mode}
    try:
        if facts is not None and facts.weights_layout == BY_PATH:
            config = dict(resolved.config)
            return library.saving.deserialize_keras_object(config, custom_objects=objects, safe_mode=safe_mode)
        return library.models.load_model(path, custom_objects=objects, compile=False, **safety)
    except Exception as error:
        raise _load_error(path, error, resolved.shared) from error


def _load_error(path: str, error: Exception, shared: Mapping[str, tuple[Any, ...]]) -> ModelError:
    unknown = _UNKNOWN_OBJECT.search(str(error))
    if unknown:
        name = unknown["name"] or unknown["other"]
        if name in shared:
            return custom_objects.ambiguous(path, name, shared[name])
        return ModelError(
            ReasonCode.LOAD_UNKNOWN_OBJECT,
            Stage.LOAD,
            f"{path} needs {name}, which is not Keras's and was not given; list the file that defines it under `modules`, "
            "or map the name under `custom_objects`",
        )
    return ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, f"{path}: {type(error).__name__}: {error}")


def _describe_custom(facts: CheckpointFacts, offered: Mapping[str, Any]) -> tuple[CustomObject, ...]:
    """The user's objects that the architecture names, each with its source file."""
    if facts.config is None:
        return ()
    wanted = scan(facts.config).custom_objects.keys() | {str(node["class_name"]) for node in serialized_objects(facts.config)}
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


def _package_version(value: Any) -> str | None:
    package = str(getattr(value, "__module__", "")).split(".")[0]
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
