"""Siblings: checkpoints that differ only in their weights. The first one is built and traced; of the others only the weights are
loaded.

Two errors are possible: the trace may hold state that differs between files, or weights may not be loaded. Reference,
SavedModel and variants would then agree on wrong numbers. So a family has only listed layers (`loading.sibling_layers`), and
every variable of the graph is compared bit for bit with its array in the sibling's own file (`sibling_weights`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry import sandbox
from liteferry.checkpoints import config_trust, h5_files
from liteferry.checkpoints.archives import read_member
from liteferry.checkpoints.detection import CheckpointFacts, Kind, look
from liteferry.json_records import parse
from liteferry.loading import sibling_layers
from liteferry.loading.model import LoadSpec

if TYPE_CHECKING:
    from liteferry.plan.model_plan import ModelPlan

_VARIABLE_KEY = re.compile(r"^graph_variables/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE$")
_OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SHAREABLE = (Kind.KERAS, Kind.H5_MODEL)
_PLAIN = LoadSpec()
_MOST_IN_A_CHUNK = 16
AUTO = "auto"
_MAX_CONFIG_BYTES = 64 * 2**20
_LOOK_LIMITS = sandbox.Limits(seconds=60, memory_bytes=4 * 10**9)


def chunks(plans: Sequence[ModelPlan], *, processes: int) -> list[tuple[ModelPlan, ...]]:
    """Siblings in groups that are exported one after the other in one process.

    Building and tracing the first of a group takes as long as three siblings, so groups are as large as possible while every
    process gets the same number of groups of the same size. If the job has `auto`, groups do not depend on the number of
    processes, since the search on the first model of a group also serves the others.
    """
    ordered = sorted(plans, key=lambda plan: plan.model_id)
    is_searched = any(AUTO in plan.variants for plan in ordered)
    size = _MOST_IN_A_CHUNK if is_searched else chunk_size(len(ordered), processes=processes)
    return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def chunk_size(count: int, *, processes: int) -> int:
    """How many of `count` siblings go into one group; the last one may have fewer."""
    rounds = max(1, math.ceil(count / (_MOST_IN_A_CHUNK * processes)))
    return max(1, math.ceil(count / (rounds * processes)))


def share_key(facts: CheckpointFacts, *, recipe_digest: str, load: LoadSpec = _PLAIN) -> str | None:
    """Key equal for checkpoints that can share one trace; None if this one cannot share. It can if its whole architecture is the
    library's own and on the list of layers whose whole state is their variables.

    Names count, since the artifacts contain them; compile settings do not, since inference does not use them. A builder may make
    another model for each file, so its models never share.
    """
    architecture = _architecture(facts.config, {})
    if facts.kind not in _SHAREABLE or load.builder is not None or load.strip:
        return None
    if sibling_layers.kept_apart(architecture, claimed=load.custom_objects) is not None:
        return None
    if config_trust.findings(facts.config):  # with training settings: a refused checkpoint is handled alone
        return None
    text = json.dumps(architecture, sort_keys=True)
    parts = [recipe_digest, facts.kind.value, str(facts.keras_version), str(facts.weights_layout), text]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def share_key_of(path: str, *, recipe_digest: str, load: LoadSpec = _PLAIN) -> str | None:
    """`share_key` of a .keras archive or of an HDF5 file with its architecture; None for anything else, and for a file that
    cannot be read, which its own process will report.

    This runs outside any sandbox: of an archive only the two JSON members are read. HDF5 is parsed by native code, so it is read
    in a sandbox.
    """
    try:
        if os.path.isfile(path) and _starts_as_hdf5(path):
            return _share_key_isolated(path, recipe_digest, load)
        with zipfile.ZipFile(path) as archive:
            config, metadata = (
                parse(read_member(path, archive, name, most_bytes=_MAX_CONFIG_BYTES)) for name in ("config.json", "metadata.json")
            )
        facts = CheckpointFacts(kind=Kind.KERAS, keras_version=metadata.get("keras_version"), config=config)
        return share_key(facts, recipe_digest=recipe_digest, load=load)
    except Exception:  # noqa: BLE001  # untrusted bytes may raise anything: then this checkpoint does not share
        return None


def _starts_as_hdf5(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(h5_files.MAGIC)) == h5_files.MAGIC


def _share_key_isolated(path: str, recipe_digest: str, load: LoadSpec) -> str | None:
    spec = sandbox.SandboxSpec(flavor=sandbox.Flavor.KERAS, limits=_LOOK_LIMITS, readable=[path])
    outcome = sandbox.run(compute_share_key, (path, recipe_digest, load), spec)
    key = outcome.results[0]["share_key"] if outcome.results else None
    return str(key) if key else None


def compute_share_key(request: tuple[str, str, LoadSpec], reporter: Any) -> None:
    """Runs in a sandbox. Hands over {share_key} of an HDF5 file with its architecture.

    None for weights alone: two calls of a builder may make models that differ in more than weights.
    """
    path, recipe_digest, load = request
    facts = look(path, has_builder=True)  # an architecture file beside it is ignored: such models never share
    key = share_key(facts, recipe_digest=recipe_digest, load=load) if facts.kind is Kind.H5_MODEL else None
    reporter.result({"share_key": key})


def _architecture(node: Any, seen_ids: dict[int, int]) -> Any:
    """A config without training settings, and with Keras's memory addresses numbered in the order they appear in."""
    if isinstance(node, dict):
        result = {}
        for key, value in node.items():
            if key == "shared_object_id":
                result[key] = seen_ids.setdefault(value, len(seen_ids))
            elif key not in ("compile_config", "training_config"):
                result[key] = _architecture(value, seen_ids)
        return result
    return [_architecture(item, seen_ids) for item in node] if isinstance(node, list) else node


def captures_variables_alone(function: Any) -> bool:
    """Whether a ConcreteFunction takes nothing from outside but variables: any other captured tensor belongs to one model."""
    handles = {id(variable.handle) for variable in function.graph.variables}
    return all(id(captured) in handles for captured in function.captured_inputs)


class SavedModelTemplate:
    """A SavedModel that was written in full, for siblings: the same graph, other variables."""

    def __init__(self, directory: str, scratch: str) -> None:
        """Keeps a copy without the variables; `directory` may be moved away afterwards.

        Raises:
          ValueError: when its variables are not only the graph's own, in order.
        """
        import tensorflow as tf

        reader = tf.train.load_checkpoint(os.path.join(directory, "variables", "variables"))
        self._indices: dict[str, int] = {}
        for key in reader.get_variable_to_shape_map():
            match = _VARIABLE_KEY.match(key)
            if match is not None:
                self._indices[key] = int(match[1])
            elif key != _OBJECT_GRAPH_KEY:
                raise ValueError(f"{directory}: holds {key}, which is not one of the graph's variables")
        self._object_graph = reader.get_tensor(_OBJECT_GRAPH_KEY)
        self._copy = scratch
        shutil.copytree(directory, scratch, ignore=shutil.ignore_patterns("variables", "assets.extra"))

    def write(self, directory: str, *, variables: Sequence[Any], metadata: Mapping[str, Any]) -> None:
        """Writes the SavedModel of a sibling: the graph copied, its variables and metadata new."""
        import tensorflow as tf
        from tensorflow.python.saved_model import fingerprinting_utils

        shutil.copytree(self._copy, directory)
        names = sorted(self._indices)
        os.makedirs(os.path.join(directory, "variables"))
        tf.raw_ops.SaveV2(
            prefix=os.path.join(directory, "variables", "variables"),
            tensor_names=[*names, _OBJECT_GRAPH_KEY],
            shape_and_slices=[""] * (len(names) + 1),
            tensors=[*(variables[self._indices[name]] for name in names), tf.constant(self._object_graph)],
        )
        with open(os.path.join(directory, "assets", "metadata.json"), "w", encoding="utf-8") as file:
            json.dump(metadata, file, indent=2, sort_keys=True)
        os.remove(os.path.join(directory, "fingerprint.pb"))
        fingerprinting_utils.write_fingerprint(directory)
