"""Finds the nodes of a SavedModel's graph that can run, and the sources of a node's inputs. Works on the protobuf, without
TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from liteferry.checkpoints.graph_state import STATEFUL

_ASSETS = "saved_model_assets"
_INITIALIZER = "__saved_model_init_op"
_INIT_OPERATIONS = ("saved_model_main_op", "legacy_init_op", "table_initializer")
# Calls whose first input is not an argument of the function: the condition.
_CONDITIONAL = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile"}) | _CONDITIONAL
_PASSING = frozenset({"Identity", "StopGradient", "PlaceholderWithDefault", "EnsureShape", "Enter", "Switch", "Snapshot"})
_INTERFACE = "api_implements"  # TensorFlow's optimizer may replace a function with one that has the same value here
_MOST_STEPS = 10_000
# Operations that are never constant: when TensorFlow imports a graph, it evaluates no node that depends on one of these.
_NO_CONSTANTS = frozenset({"Placeholder", "PlaceholderV2", "VarHandleOp", "Variable", "VariableV2"}) | STATEFUL


def asset_files(meta_graph: Any) -> list[Any]:
    """The AssetFileDefs of a graph: its own, or those that TensorFlow 1 keeps in a collection, as loaders read them."""
    from tensorflow.core.protobuf import meta_graph_pb2

    if meta_graph.asset_file_def or _ASSETS not in meta_graph.collection_def:
        return list(meta_graph.asset_file_def)
    found = []
    for packed in meta_graph.collection_def[_ASSETS].any_list.value:
        asset = meta_graph_pb2.AssetFileDef()
        if packed.Unpack(asset):
            found.append(asset)
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A node and its location: the function of that name, or the graph itself."""

    function: str | None
    node: Any


class Graph:
    """One graph of a SavedModel.

    `assets` and `checkpoint` name the tensors that TensorFlow itself feeds when it loads the graph: the paths of the graph's own
    assets, and of its own variables.
    """

    def __init__(self, meta_graph: Any) -> None:
        self._meta = meta_graph
        self._functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
        self._main = {node.name: node for node in meta_graph.graph_def.node}
        self._bodies = {name: {node.name: node for node in body.node_def} for name, body in self._functions.items()}
        self.assets = {_tensor(asset.tensor_info.name) for asset in asset_files(meta_graph)}
        self.checkpoint = {_tensor(name) for name in (meta_graph.saver_def.filename_tensor_name,) if name}

    def is_call(self, operation: str) -> bool:
        """Whether an operation is a call of a function in the graph, as TensorFlow 1 writes it."""
        return operation in self._functions

    def that_run(self) -> Iterator[Place]:
        """Every node that may run when the graph is loaded or any of its functions is called.

        In the main graph these are the nodes that signatures, initializers, variables and restoring need; in the library, all
        functions that those, or the object graph, reach in any way. Nothing runs the saver's own writing.
        """
        roots = self._signature_ends() | self._restoring() | self._initializing() | self._variables()
        yield from self._reached(roots, self._meta.object_graph_def.concrete_functions)

    def without_assets(self) -> set[tuple[str | None, str]]:
        """(function, node) of the nodes of the main graph that also run while the paths of its assets are not fed: only the
        initializer is fed them.
        """
        return self._keys(self._signature_ends() | self._restoring() | self._variables())

    def without_checkpoint(self) -> set[tuple[str | None, str]]:
        """The same for the path of its variables, which is fed only while restoring."""
        return self._keys(self._signature_ends() | self._initializing() | self._variables())

    def _keys(self, roots: Collection[str]) -> set[tuple[str | None, str]]:
        return {(place.function, place.node.name) for place in self._reached(roots, ())}

    def when_imported(self) -> Iterator[Place]:
        """Nodes that TensorFlow may evaluate when it imports a graph or a function, reached or not: stateless nodes that depend
        on constants alone. The shape of another node may depend on them.
        """
        for function, body in ((None, self._main), *self._bodies.items()):
            yield from (Place(function=function, node=node) for node in body.values() if _is_constant(node, body))

    def _reached(self, roots: Collection[str], functions: Iterable[str]) -> Iterator[Place]:
        main = [Place(function=None, node=node) for node in self._ancestors(roots)]
        yield from main
        pending = [*functions, *self._named_by(place.node for place in main)]
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            if name in seen or name not in self._functions:
                continue
            seen.add(name)
            body = self._functions[name].node_def
            yield from (Place(function=name, node=node) for node in body)
            pending.extend(self._named_by(body))
            pending.extend(gradient.gradient_func for gradient in self._gradients(name))
            pending.extend(self._instead_of(name))

    def _instead_of(self, name: str) -> list[str]:
        """The functions that TensorFlow may run in place of one: functions whose attributes declare that they implement the
        same for another device.
        """
        interface = self._functions[name].attr[_INTERFACE].s if _INTERFACE in self._functions[name].attr else b""
        if not interface:
            return []
        return [
            other for other, body in self._functions.items() if _INTERFACE in body.attr and body.attr[_INTERFACE].s == interface
        ]

    def _gradients(self, name: str) -> list[Any]:
        return [gradient for gradient in self._meta.graph_def.library.gradient if gradient.function_name == name]

    def _signature_ends(self) -> set[str]:
        """The nodes of the main graph that signatures begin and end in; TensorFlow keeps an initializer among them."""
        signatures = self._meta.signature_def.items()
        return {node for name, signature in signatures if name != _INITIALIZER for node in _ends(signature)}

    def _restoring(self) -> set[str]:
        return {node_name(self._meta.saver_def.restore_op_name)} - {""}

    def _initializing(self) -> set[str]:
        """Nodes that run when the graph is loaded, after its variables are restored."""
        roots: set[str] = set()
        if _INITIALIZER in self._meta.signature_def:
            roots.update(_ends(self._meta.signature_def[_INITIALIZER]))
        for key in _INIT_OPERATIONS:
            if key in self._meta.collection_def:
                roots.update(node_name(name) for name in self._meta.collection_def[key].node_list.value)
        return roots

    def _variables(self) -> set[str]:
        """The initializers and values of TensorFlow 1's variables."""
        from tensorflow.core.framework import variable_pb2

        found: set[str] = set()
        for collection in self._meta.collection_def.values():
            for text in collection.bytes_list.value:
                try:
                    told = variable_pb2.VariableDef.FromString(text)
                except Exception:  # noqa: BLE001  # not a variable: TensorFlow does not read it as one either
                    continue
                found.update((told.initializer_name, told.snapshot_name, told.initial_value_name, told.variable_name))
        return {node_name(name) for name in found if name}

    def _ancestors(self, roots: Collection[str]) -> Iterator[Any]:
        pending, seen = list(roots), set(roots)
        while pending:
            node = self._main.get(pending.pop())
            if node is None:
                continue
            yield node
            for name in map(node_name, node.input):
                if name not in seen:
                    seen.add(name)
                    pending.append(name)

    def _named_by(self, nodes: Iterable[Any]) -> Iterator[str]:
        """The functions that nodes name, whatever the attribute is: as a function, in a list, or by its name in a string."""
        for node in nodes:
            yield node.op
            for attribute in node.attr.values():
                pending = [attribute.func, *attribute.list.func]
                while pending:
                    function = pending.pop()
                    yield function.name
                    for inner in function.attr.values():
                        pending += [inner.func, *inner.list.func] if inner.func.name or inner.list.func else []
                for text in (attribute.s, *attribute.list.s):
                    if 0 < len(text) < 1000:
                        yield text.decode(errors="replace")

    def comes_from(self, place: Place, index: int, fed: Collection[str]) -> bool:
        """Whether an input of a node can only be one of the tensors that are fed.

        Args:
          place: the node.
          index: of its input.
          fed: tensors of the main graph.
        """
        pending = [(place.function, place.node.input[index])] if len(place.node.input) > index else []
        seen: set[tuple[str | None, str]] = set()
        if not pending or not fed:
            return False
        while pending:
            function, tensor = pending.pop()
            if (function, tensor) in seen:
                continue
            seen.add((function, tensor))
            name = node_name(tensor)
            if function is None and _tensor(tensor) in fed:
                continue
            before = self._before(function, name)
            if not before or len(seen) > _MOST_STEPS:
                return False
            pending.extend(before)
        return True

    def _before(self, function: str | None, name: str) -> list[tuple[str | None, str]]:
        """The sources of a tensor's value, one step back; empty if unknown."""
        node = (self._main if function is None else self._bodies[function]).get(name)
        if node is not None and node.op == "ReadVariableOp" and function is None:
            return self._assigned(node_name(node.input[0]))
        if node is not None:
            return [(function, node.input[0])] if node.op in _PASSING and node.input else []
        arguments = [argument.name for argument in self._functions[function].signature.input_arg] if function else []
        if function is None or name not in arguments:
            return []
        return self._given(function, arguments.index(name), len(arguments))

    def _assigned(self, variable: str) -> list[tuple[str | None, str]]:
        """The values assigned to a variable of the main graph; empty where anything else could assign to it."""
        holder = self._main.get(variable)
        if holder is None or holder.op != "VarHandleOp":
            return []
        named = [node for body in (self._main, *self._bodies.values()) for node in body.values() if node.op == "VarHandleOp"]
        same = [node for node in named if _may_be(node.attr["shared_name"], holder.attr["shared_name"])]
        users = [node for node in self._main.values() if variable in map(node_name, node.input)]
        known = ("AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp")
        if len(same) != 1 or any(node.op not in known for node in users):
            return []
        return [(None, node.input[1]) for node in users if node.op == "AssignVariableOp"]

    def _given(self, function: str, position: int, count: int) -> list[tuple[str | None, str]]:
        """The values that callers pass for an argument of a function; empty as soon as one of them cannot be followed."""
        found: list[tuple[str | None, str]] = []
        concrete = self._meta.object_graph_def.concrete_functions
        if function in concrete:
            bound = concrete[function].bound_inputs
            captured = position - (count - len(bound))
            nodes = self._meta.object_graph_def.nodes
            node = nodes[bound[captured]] if captured >= 0 and 0 <= bound[captured] < len(nodes) else None
            kind = node.WhichOneof("kind") if node is not None else None
            if node is None or kind != "asset" or node.asset.asset_file_def_index >= len(self._meta.asset_file_def):
                return []
            asset = self._meta.asset_file_def[node.asset.asset_file_def_index]
            found.append((None, asset.tensor_info.name))
        for caller, body in ((None, self._main), *self._bodies.items()):
            for node in body.values():
                if function not in set(self._named_by([node])):
                    continue
                at = position + (1 if node.op in _CONDITIONAL else 0)
                if (node.op not in _CALLS and node.op != function) or at >= len(node.input):
                    return []
                found.append((caller, node.input[at]))
        return found


def _may_be(one: Any, other: Any) -> bool:
    """Whether two attributes are one text; one that a function's caller gives may be any."""
    return bool(one.placeholder or other.placeholder or one.s == other.s)


def _ends(signature: Any) -> set[str]:
    found: set[str] = set()
    for tensor in (*signature.outputs.values(), *signature.inputs.values()):
        parts = [tensor.name, tensor.coo_sparse.values_tensor_name, tensor.coo_sparse.indices_tensor_name]
        parts += [tensor.coo_sparse.dense_shape_tensor_name]
        parts += [component.name for component in tensor.composite_tensor.components]
        found.update(node_name(part) for part in parts if part)
    return found


def node_name(tensor: str) -> str:
    """The node in a tensor's name, `name:output:0` or `^name`."""
    return tensor.lstrip("^").split(":")[0]


def _tensor(name: str) -> str:
    """A tensor's full name. One output of a node may be fed while the node computes its other outputs."""
    return name if ":" in name else f"{name}:0"


def _is_constant(node: Any, body: Mapping[str, Any]) -> bool:
    """Whether a node is stateless and depends on constants alone. A name that is not a node of the body is an argument of the
    function.
    """
    pending, seen = [node], {node.name}
    while pending:
        current = pending.pop()
        if current.op in _NO_CONSTANTS:
            return False
        for name in map(node_name, current.input):
            if name not in body:
                return False
            if name not in seen:
                seen.add(name)
                pending.append(body[name])
    return True
