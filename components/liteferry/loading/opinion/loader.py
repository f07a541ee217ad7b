"""The library's own loader on a checkpoint, for the second opinion: the model that a user's script of a few lines would load
and call.

It shares no code with the loader of the reference: no rewritten config, no assigned weights, no resolved names. Where the
library's own loader is known to be wrong, `known_corrections` corrects what docs/checkpoints.md lists, with independent code, and
the report says so. Runs inside a sandbox only.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints import config_trust, graph_scan
from liteferry.checkpoints.config_scan import serialized_objects
from liteferry.checkpoints.detection import BY_PATH, CheckpointFacts, Kind
from liteferry.checkpoints.keras_names import MADE_BY_KERAS
from liteferry.loading import user_code
from liteferry.loading.custom_objects import own_names
from liteferry.loading.loaders import refuse_graph
from liteferry.loading.model import LoadSpec
from liteferry.loading.opinion import built, calls, known_corrections, weights
from liteferry.loading.opinion.calls import NoOpinionError, OwnModel
from liteferry.types import TensorSpec, keyword_of

_SAVED_MODELS = (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS)
_INITIALIZER = "__saved_model_init_op"
_LIBRARY_HOMES = ("layers", "activations", "initializers", "regularizers", "constraints", "losses", "metrics", "ops", "models")


def load(path: str, facts: CheckpointFacts, spec: LoadSpec, *, oracle: str, inputs: Sequence[TensorSpec]) -> OwnModel:
    """Loads a checkpoint with the library's own loader.

    Args:
      path: the scanned copy.
      facts: facts read from the copy.
      spec: the job's modules, custom objects, builder and trust.
      oracle: which library computes, as `LoadedModel.oracle` has it: "keras 3.15.1".
      inputs: the inputs of later calls, for models that must be called once before they have variables.

    Raises:
      NoOpinionError: for the kinds that have none.
      Exception: whatever the library raises.
    """
    if facts.kind in _SAVED_MODELS:
        return _saved_model(path, spec)
    if facts.written_before_keras_3() or facts.kind is Kind.TF_CHECKPOINT:
        user_code.route_to_tf_keras(plain_keras=facts.kind not in (Kind.H5_WEIGHTS, Kind.TF_CHECKPOINT))
    name = "tf_keras" if oracle.startswith("tf_keras") else "keras"
    if name == "keras":
        user_code.route_to_keras_3()
    if spec.builder is not None:
        return built.load(path, facts, spec, inputs=inputs)
    library = importlib.import_module(name)
    objects, settled = _custom_objects(spec, library, facts)
    refuse_foreign(facts, objects, spec, library)
    corrected, corrections = known_corrections.corrected_copy(path, facts, library)
    corrections += tuple(
        f"{asked} is that of {value.__module__}, as the file says: another module has one of its name, and the library takes the "
        "one that was registered last"
        for asked, value in settled.items()
    )
    safety: dict[str, Any] = {}
    if name == "keras" or corrected.endswith(".keras"):
        safety = {"safe_mode": not {"lambda", "file_ops"} & set(spec.trust)}
    try:
        with library.saving.custom_object_scope(settled):  # goes before what is registered; `custom_objects` does not
            if facts.weights_layout == BY_PATH:
                model, said = _of_orbax(corrected, library, objects, facts, **safety)
                corrections += said
            else:
                model = library.models.load_model(corrected, custom_objects=objects, compile=False, **safety)
    except Exception as error:
        if spec.strip:
            raise NoOpinionError(
                f"`strip` leaves out layers that {name}'s own loader cannot do without ({type(error).__name__}: {error})"
            ) from error
        raise
    if name == "keras" and not getattr(model, "inputs", None):
        corrections += known_corrections.built_by_all_arguments(model, corrected, lambda: calls.build(model, library, inputs))
    corrections += known_corrections.after_loading(model, library, facts, strip=spec.strip)
    return calls.of_keras(model, library, corrections)


def _of_orbax(
    path: str, library: Any, objects: Mapping[str, Any], facts: CheckpointFacts, **safety: Any
) -> tuple[Any, tuple[str, ...]]:
    """As Keras's reader of Orbax folders does with what it has read."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    model = library.saving.deserialize_keras_object(config, custom_objects=objects, **safety)
    return model, weights.set_state_tree(path, model, facts)


def _custom_objects(spec: LoadSpec, library: Any, facts: CheckpointFacts) -> tuple[dict[str, Any], dict[str, Any]]:
    """The custom_objects that a user's script would pass: the job's, and the classes and functions of its modules with
    unambiguous names (not the library's own, and defined once). And those that `_of_their_modules` settles.
    """
    offered = user_code.gather(spec.modules, spec.custom_objects)
    theirs = offered.names() - own_names(library)
    found = config_trust.findings(facts.config, offered=theirs, modules=spec.modules)
    config_trust.refuse(facts.path or "", found, trust=spec.trust)
    says_where = library.__name__ == "keras" and facts.kind is Kind.KERAS  # a class of the user's has a registered name there
    objects = {
        name: values[0]
        for name, values in offered.defined.items()
        if len(values) == 1
        and (not _is_librarys(name, library) or (says_where and inspect.isclass(values[0]) and name not in MADE_BY_KERAS))
    }
    objects |= offered.chosen
    nodes = [node for node in serialized_objects(facts.config) if node["class_name"] != "function"]
    for node in nodes:
        name = node["class_name"].split(">")[-1]
        for asked in (node["class_name"], node.get("registered_name")):
            if isinstance(asked, str) and asked not in objects and name in objects and not _is_librarys(name, library):
                objects[asked] = objects[name]  # the class has moved, or was registered under another package
    if any(_is_unknown(node, objects, library) for node in nodes):
        for package in offered.packages:
            user_code.import_submodules(package)
    settled = _of_their_modules(nodes, offered)
    for node in nodes:
        name = node["class_name"]
        is_settled = name in objects or _asked(node) in settled
        if len(offered.defined.get(name, ())) > 1 and not is_settled and _is_unknown(node, objects, library):
            raise _two_of_a_name(name)
    return objects | settled, settled


def _of_their_modules(nodes: Sequence[Mapping[str, Any]], offered: user_code.Offered) -> dict[str, Any]:
    """If several of the user's modules define a class of one name: the class of the module that the file names, under the name
    that the library looks up.

    Raises:
      NoOpinionError: the file needs two of them under one name.
    """
    found: dict[str, Any] = {}
    for node in nodes:
        name, asked = node["class_name"].split(">")[-1], _asked(node)
        rivals = offered.defined.get(name, ())
        own = [value for value in rivals if value.__module__ == node.get("module")]
        if len(rivals) < 2 or len(own) != 1 or {name, asked} & set(offered.chosen):
            continue
        if found.setdefault(asked, own[0]) is not own[0]:
            raise _two_of_a_name(name)
    return found


def _asked(node: Mapping[str, Any]) -> str:
    return str(node.get("registered_name") or node["class_name"])


def _two_of_a_name(name: str) -> NoOpinionError:
    return NoOpinionError(f"two modules have a class {name!r}, and the library's own loader knows a class by its name alone")


def _is_unknown(node: dict[str, Any], objects: Collection[str], library: Any) -> bool:
    """Whether a class is neither the library's own, nor registered, nor offered."""
    registered, module = node.get("registered_name"), node.get("module")
    is_own = (
        module.split(".")[0] in ("keras", "tf_keras") if isinstance(module, str) else _is_librarys(node["class_name"], library)
    )
    return not (is_own or registered in objects or node["class_name"] in objects or _is_registered(library, registered))


def _is_registered(library: Any, name: Any) -> bool:
    return isinstance(name, str) and library.saving.get_registered_object(name) is not None


def _is_librarys(name: str, library: Any) -> bool:
    is_made = name in MADE_BY_KERAS  # `Functional` exists in both libraries, but is public in neither
    return is_made or any(hasattr(getattr(library, home, None), name) for home in _LIBRARY_HOMES)


def refuse_foreign(facts: CheckpointFacts, objects: Collection[str], spec: LoadSpec, library: Any) -> None:
    """Raises ValueError where the library would import a module that neither the library nor the job
    names: an import runs code.
    """
    trusted = {os.path.basename(module).removesuffix(".py").split(".")[0] for module in spec.modules}
    for node in serialized_objects(facts.config):
        module, name, registered = node.get("module"), node["class_name"], node.get("registered_name")
        if not isinstance(module, str) or module.split(".")[0] in ("keras", "tf_keras", "builtins", "tensorflow", *trusted):
            continue
        inner = node.get("config")
        known = {name, registered, inner if isinstance(inner, str) else None}
        if not (known & set(objects) or _is_registered(library, registered)):
            raise ValueError(f"{name!r} of module {module!r} is nothing that the job offers")


def _saved_model(path: str, spec: LoadSpec) -> OwnModel:
    """TensorFlow's own loader, and the signature that docs/checkpoints.md says is served."""
    import tensorflow as tf

    parsed = graph_scan.read(path)
    refuse_graph(path, parsed, spec)
    sets: list[list[str]] = [sorted(meta_graph.meta_info_def.tags) for meta_graph in parsed.meta_graphs]
    serving = [tags for tags in sets if "train" not in tags] or sets
    serving = [tags for tags in serving if "serve" in tags] or serving
    loaded = tf.saved_model.load(path, tags=None if len(sets) == 1 else min(serving, key=len))
    signatures = {name: function for name, function in dict(loaded.signatures).items() if name != _INITIALIZER}
    default = next((name for name in ("serving_default", "serve") if name in signatures), min(signatures, default=None))
    chosen = spec.signature or default

    def of_signature(name: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return calls.named(signatures[name](**{key: tf.constant(value) for key, value in inputs.items()}), ())

    def of_object(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return calls.named(calls.first_that_takes(loaded, [tf.constant(value) for value in inputs.values()]), ())

    by_name = {name: functools.partial(of_signature, name) for name in signatures}
    return OwnModel(
        answers=of_object if chosen is None else by_name[chosen],
        by=f"tensorflow {tf.__version__}",
        signatures=by_name,
        inputs=() if chosen is None else _names_of(signatures[chosen]),
    )


def _names_of(signature: Any) -> tuple[str, ...]:
    """The names of a signature's inputs as the file has them; TensorFlow makes keywords of some."""
    keywords = signature.structured_input_signature[1].items()
    return tuple(str(spec.name) if spec.name and keyword_of(spec.name) == keyword else keyword for keyword, spec in keywords)
