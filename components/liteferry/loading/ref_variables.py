"""Rewrites SavedModels of TensorFlow 1 with ref variables to use resource variables.

TensorFlow runs such a graph after loading it, but a copy that it saves does not run. So the graph is rewritten before it is
loaded: every variable becomes a resource, and the operators that read or assign it become their resource counterparts. Parts that
only training needs are dropped. TensorFlow's own loader handles the rest, including tables and assets.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage

_REF_VARIABLES = ("Variable", "VariableV2")
# Operator on a ref variable -> the one on a resource, and the attributes it takes over, by the names they have there.
_ON_RESOURCES = {
    "Identity": ("ReadVariableOp", {"T": "dtype"}),
    "Assign": ("AssignVariableOp", {"T": "dtype"}),
    "AssignAdd": ("AssignAddVariableOp", {"T": "dtype"}),
    "AssignSub": ("AssignSubVariableOp", {"T": "dtype"}),
    "IsVariableInitialized": ("VarIsInitializedOp", {}),
    **{
        f"Scatter{what}": (f"ResourceScatter{what}", {"T": "dtype", "Tindices": "Tindices"})
        for what in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max")
    },
}
_GIVES_NO_TENSOR = ("Assign", "AssignAdd", "AssignSub", *(name for name in _ON_RESOURCES if name.startswith("Scatter")))
_OF_VARIABLES = ("variables", "local_variables", "trainable_variables", "model_variables", "moving_average_variables")
_KEPT = (*_OF_VARIABLES, "table_initializer", "asset_filepaths", "legacy_init_op", "saved_model_main_op", "saved_model_assets")
_READ = "read_by_liteferry"


def lifted_copy(path: str, saved_model: Any, tags: Sequence[str] | None) -> str | None:
    """A copy of a SavedModel in the scratch folder, its variables linked, whose graph holds resource variables only.

    Args:
      path: the directory.
      saved_model: its parsed `saved_model.pb`.
      tags: of the graph that is loaded; None for the only one.

    Returns:
      The copy's directory; None where the graph has no ref variable.

    Raises:
      ModelError: LOAD_UNSUPPORTED, naming the operator that has no counterpart for resources.
    """
    wanted = next(graph for graph in saved_model.meta_graphs if tags is None or set(graph.meta_info_def.tags) == set(tags))
    if not any(node.op in _REF_VARIABLES for node in wanted.graph_def.node):
        return None
    copied = type(saved_model)()
    copied.CopyFrom(saved_model)
    del copied.meta_graphs[:]
    meta_graph = copied.meta_graphs.add()
    meta_graph.CopyFrom(wanted)
    _drop_training(meta_graph)
    _Lift(path, meta_graph).run()
    folder = tempfile.mkdtemp()
    for name in os.listdir(path):
        if not name.startswith("saved_model.pb") and name != "fingerprint.pb":
            os.symlink(os.path.abspath(os.path.join(path, name)), os.path.join(folder, name))
    with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
        file.write(copied.SerializeToString())
    return folder


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]


def _drop_training(meta_graph: Any) -> None:
    """Keeps what the signatures, the saver and the initializers need, and the collections that TensorFlow's loader reads."""
    for name, collection in [*meta_graph.collection_def.items()]:
        # Reading an absent collection from the parsed file creates an empty one, which the loader rejects.
        if name not in _KEPT or collection.WhichOneof("kind") is None:
            del meta_graph.collection_def[name]
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    waiting = [name for name in map(_node_of, _roots(meta_graph)) if name in nodes]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in needed and name in nodes:
            needed.add(name)
            waiting += map(_node_of, nodes[name].input)
    kept = [node for node in meta_graph.graph_def.node if node.name in needed]
    del meta_graph.graph_def.node[:]
    meta_graph.graph_def.node.extend(kept)


def _roots(meta_graph: Any) -> Iterator[str]:
    for signature in meta_graph.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            sparse, composite = info.coo_sparse, info.composite_tensor
            yield from (info.name, sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
            yield from (component.name for component in composite.components)
    saver = meta_graph.saver_def
    yield from (saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name)
    for collection in meta_graph.collection_def.values():
        yield from collection.node_list.value
    for variable in _variable_defs(meta_graph):
        yield from (variable.variable_name, variable.initializer_name, variable.snapshot_name, variable.initial_value_name)
    yield from (asset.tensor_info.name for asset in meta_graph.asset_file_def)


def _variable_defs(meta_graph: Any) -> list[Any]:
    from tensorflow.core.framework import variable_pb2

    there = [meta_graph.collection_def[name] for name in _OF_VARIABLES if name in meta_graph.collection_def]
    return [variable_pb2.VariableDef.FromString(value) for collection in there for value in collection.bytes_list.value]


class _Lift:
    """Rewrites one graph in place."""

    def __init__(self, path: str, meta_graph: Any) -> None:
        self._path, self._meta_graph = path, meta_graph
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self._refs = {node.name: node for node in self._nodes.values() if node.op in _REF_VARIABLES}
        self._variables = {name: variable for name in self._nodes if (variable := self._reached_from(name)) is not None}
        # Assignments to a ref variable return the variable; assignments to a resource return nothing.
        self._assigns = {name for name in self._variables if self._nodes[name].op in _GIVES_NO_TENSOR}
        self._added: dict[str, Any] = {}

    def run(self) -> None:
        for node in [*self._nodes.values()]:
            self._rewrite(node)
        for name, node in self._refs.items():
            self._to_handle(name, node)
        self._meta_graph.graph_def.node.extend(self._added.values())
        self._rewrite_collections()
        for signature in self._meta_graph.signature_def.values():
            for info in signature.outputs.values():
                info.name = self._value_of(info.name) if info.name else info.name

    def _reached_from(self, name: str) -> str | None:
        """The variable that an operator gives a reference to; None for one that gives a value."""
        node = self._nodes.get(name)
        while node is not None and node.op in ("RefIdentity", *_GIVES_NO_TENSOR) and node.input:
            node = self._nodes.get(_node_of(node.input[0]))
        return str(node.name) if node is not None and node.op in _REF_VARIABLES else None

    def _variable_of(self, tensor: str) -> str | None:
        return None if tensor.startswith("^") else self._variables.get(_node_of(tensor))

    def _rewrite(self, node: Any) -> None:
        if node.op in _REF_VARIABLES or not any(self._variable_of(name) for name in node.input):
            return
        first = self._variable_of(node.input[0])
        start = 0
        if first is not None and node.op in _ON_RESOURCES:
            after = self._assign_in(node.input[0])
            op, attributes = _ON_RESOURCES[node.op]
            taken = {there: node.attr[here] for here, there in attributes.items()}
            kept = {there: type(value).FromString(value.SerializeToString()) for there, value in taken.items()}
            node.attr.clear()
            for name, value in kept.items():
                node.attr[name].CopyFrom(value)
            node.op, node.input[0], start = op, first, 1
            if after is not None:
                node.input.append(f"^{after}")
        elif self._takes_references(node):
            raise ModelError(
                ReasonCode.LOAD_UNSUPPORTED,
                Stage.LOAD,
                f"{self._path}: its variables are TensorFlow 1's ref variables, and {node.op} ({node.name}), which the "
                "signatures need, has no counterpart for resource variables; save the model again after "
                "tf.compat.v1.enable_resource_variables()",
            )
        for place in range(start, len(node.input)):
            node.input[place] = self._value_of(node.input[place])

    def _assign_in(self, tensor: str) -> str | None:
        name = _node_of(tensor)
        return name if name in self._assigns else None

    def _takes_references(self, node: Any) -> bool:
        from tensorflow.python.framework import op_def_registry

        definition = op_def_registry.get(node.op)
        return definition is not None and any(argument.is_ref for argument in definition.input_arg)

    def _value_of(self, tensor: str) -> str:
        """A tensor that held a reference, replaced by the value read at that point."""
        variable = self._variable_of(tensor)
        if variable is None:
            return tensor
        assign = self._assign_in(tensor)
        name = f"{assign or variable}/{_READ}"
        if name not in self._added:
            read = type(self._refs[variable])()
            read.name, read.op = name, "ReadVariableOp"
            read.input.append(variable)
            if assign is not None:
                read.input.append(f"^{assign}")
            read.attr["dtype"].CopyFrom(self._refs[variable].attr["dtype"])
            self._added[name] = read
        return f"{name}:0" if ":" in tensor else name

    def _to_handle(self, name: str, node: Any) -> None:
        node.op = "VarHandleOp"
        for attribute in [*node.attr]:
            if attribute not in ("dtype", "shape", "container", "shared_name"):
                del node.attr[attribute]
        if not node.attr["shared_name"].s:
            node.attr["shared_name"].s = name.encode()

    def _rewrite_collections(self) -> None:
        from tensorflow.core.framework import variable_pb2

        for name in _OF_VARIABLES:
            if name not in self._meta_graph.collection_def:
                continue
            values: Iterable[bytes] = [*self._meta_graph.collection_def[name].bytes_list.value]
            del self._meta_graph.collection_def[name].bytes_list.value[:]
            for value in values:
                variable = variable_pb2.VariableDef.FromString(value)
                if _node_of(variable.variable_name) in self._refs:
                    variable.is_resource = True
                    variable.snapshot_name = self._snapshot(variable)
                self._meta_graph.collection_def[name].bytes_list.value.append(variable.SerializeToString())

    def _snapshot(self, variable: Any) -> str:
        """The tensor that reads the variable; for the reference itself, a new read operator."""
        name = variable.snapshot_name or variable.variable_name
        found = self._nodes.get(_node_of(name))
        return str(name) if found is not None and found.op == "ReadVariableOp" else self._value_of(variable.variable_name)
