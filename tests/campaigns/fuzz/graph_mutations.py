"""Small SavedModels with a node of any registered operation put somewhere into their graphs, its texts being canaries' paths.

Seeds hold nodes called `slot...`: in the main graph, in an initializer, in functions, branches, loops and functions of functions.
A mutation puts a node beside one of them, and the slot tells what came of it, so that nothing prunes it.

A number makes the same graph in every process, so nothing is drawn from what differs between processes: TensorFlow lists its
operations in another order each time, together with those of other packages, and counts the names of functions from what was
traced before.
"""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

_TELLS = "StringFormat"
_TEXT = 7  # DT_STRING, as the protobuf numbers it
_RESOURCE, _VARIANT = 20, 21
_NUMBERS = (1, 3, 9, 10)  # float, int32, int64, bool
_SCALAR = 0.7
_HIDDEN = 0.2
LEFT_OUT = Path(__file__).resolve().parents[2] / "checkpoints" / "left_out.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seed:
    """A SavedModel in a folder, and its parsed `saved_model.pb` as bytes."""

    folder: Path
    content: bytes


def seeds(folder: Path, vocabulary: Path) -> list[Seed]:
    """Writes one of TensorFlow 2 and one of TensorFlow 1 below `folder`."""
    _write_v2(folder / "v2", vocabulary)
    _write_v1(folder / "v1")
    return [Seed(folder=place, content=(place / "saved_model.pb").read_bytes()) for place in (folder / "v2", folder / "v1")]


def _slot(x: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.StringFormat(inputs=[x], template="{}", placeholder="{}", summarize=100, name="slot")


def _write_v2(folder: Path, vocabulary: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.v = tf.Variable(tf.ones([3, 2]))
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(str(vocabulary), tf.string, 0, tf.int64, 1, delimiter=" "), -1
    )

    @tf.function
    def inner(x: Any) -> Any:
        return _slot(x)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x: Any) -> Any:
        total = tf.reduce_sum(x)
        found = module.table.lookup(tf.strings.as_string(tf.cast(x[0], tf.int32)))
        branch = tf.cond(total > -1e9, lambda: _slot(total), lambda: tf.constant(""))
        loop = tf.while_loop(lambda i, _: i < 1, lambda i, _: (i + 1, _slot(total)), (0, tf.constant("")))[1]
        each = tf.map_fn(_slot, x[0], fn_output_signature=tf.string)
        texts = [_slot(total), inner(total), branch, loop, tf.strings.reduce_join(each)]
        return {"y": tf.matmul(x, module.v), "told": tf.strings.join(texts), "found": found}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def _write_v1(folder: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        v = v1.get_variable("v", initializer=tf.ones([3, 2]), use_resource=True)
        kept = v1.get_variable("kept", initializer=tf.constant(""), use_resource=True, collections=["local_variables"])
        start = kept.assign(_slot(tf.constant(1.0))).op
        outputs = {"y": tf.matmul(x, v), "told": _slot(tf.reduce_sum(x)), "kept": kept.read_value()}
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.build_signature_def(
            {"x": v1.saved_model.build_tensor_info(x)},
            {name: v1.saved_model.build_tensor_info(value) for name, value in outputs.items()},
            "serve",
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=start)
        builder.save()


class GraphMutator:
    """Makes SavedModels, always the same ones for a seed number."""

    def __init__(self, made: list[Seed], seed: int, paths: list[str], operations: list[str] | None = None) -> None:
        """`paths`: what texts say. `operations`: names that are put in, all of TensorFlow's own by default."""
        from tensorflow.core.framework import op_def_pb2
        from tensorflow.python.client import pywrap_tf_session

        every = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())).op
        self._registered = {operation.name: operation for operation in every}
        self._names = _reviewed() if operations is None else sorted(operations)
        if not self._registered.keys() & set(self._names):
            raise ValueError(f"TensorFlow has none of the operations {self._names}")
        self._rng, self._seed = random.Random(seed), seed
        self._seeds, self._paths = made, paths

    def make(self, number: int) -> tuple[Seed, Any, str]:
        """For a number the seed, its SavedModel with one to two nodes more, and what was put where.

        The first numbers make the seeds as they are: what there is to see when nothing is in the way of running.
        """
        from tensorflow.core.protobuf import saved_model_pb2

        if number < len(self._seeds):
            seed = self._seeds[number]
            return seed, saved_model_pb2.SavedModel.FromString(seed.content), "nothing"
        self._rng.seed(f"{self._seed} {number}")
        seed = self._rng.choice(self._seeds)
        saved_model = saved_model_pb2.SavedModel.FromString(seed.content)
        graph = saved_model.meta_graphs[0].graph_def
        told = [self._put(graph) for _ in range(self._rng.choice((1, 1, 1, 2)))]
        return seed, saved_model, "; ".join(told)

    def _put(self, graph: Any) -> str:
        functions = sorted(graph.library.function, key=lambda one: _without_count(one.signature.name))
        bodies = [(None, graph.node), *((function, function.node_def) for function in functions)]
        slots = [(function, node) for function, body in bodies for node in body if node.op == _TELLS and "slot" in node.name]
        function, slot = self._rng.choice(slots)
        place = "the graph" if function is None else _without_count(function.signature.name)[0]
        if function is not None and self._rng.random() < _HIDDEN:
            function, slot = _hidden(graph.library, function, slot.name)
            place = f"a function in place of {place}"
        operation = self._operation()
        body = graph.node if function is None else function.node_def
        writer = _Nodes(self._rng, body, self._paths, functions=[one.signature.name for one in functions])
        node, kinds = writer.add(operation)
        separator = ":0" if function is None else f":{operation.output_arg[0].name}:0" if operation.output_arg else ""
        if self._rng.random() < 0.15 or not kinds or kinds[0] in (_RESOURCE, _VARIANT):
            if self._rng.random() < 0.5:
                slot.input.append(f"^{node.name}")
                return f"{operation.name} before {slot.name} of {place}"
            return f"{operation.name} beside {slot.name} of {place}"
        slot.attr["T"].list.type[:] = [kinds[0]]
        slot.input[0] = f"{node.name}{separator}"
        return f"{operation.name} told by {slot.name} of {place}"

    def _operation(self) -> Any:
        """The definition of an operation. Names that this release of TensorFlow does not have are drawn again."""
        while (name := self._rng.choice(self._names)) not in self._registered:
            continue
        return self._registered[name]


def _hidden(library: Any, function: Any, slot: str) -> tuple[Any, Any]:
    """A copy of a function that nobody calls, and that TensorFlow may run in its place: it says that it implements the same."""
    copy = library.function.add()
    copy.CopyFrom(function)
    copy.signature.name = f"hidden_{len(library.function)}"
    for one, device in ((function, b"GPU"), (copy, b"CPU")):
        one.attr["api_implements"].s, one.attr["api_preferred_device"].s = function.signature.name.encode(), device
    return copy, next(node for node in copy.node_def if node.name == slot)


def _reviewed() -> list[str]:
    """All operations of TensorFlow that `tests/checkpoints/test_names.py` holds the lists to."""
    from liteferry.checkpoints import graph_ops

    return sorted({*graph_ops.HARMLESS, *json.loads(LEFT_OUT.read_text())["operations"]})


def _without_count(function: str) -> tuple[str, int]:
    """The name of a function and the number behind it, which counts what its process has traced."""
    name, _, count = function.rpartition("_")
    return (name, int(count)) if count.isdigit() else (function, 0)


class _Nodes:
    """Adds nodes to the body of a graph or a function."""

    def __init__(self, rng: random.Random, body: Any, paths: list[str], functions: list[str]) -> None:
        self._rng, self._body, self._paths, self._functions = rng, body, paths, functions
        self._is_function = not any(node.op == "Placeholder" for node in body)

    def _name(self) -> str:
        return f"put_{len(self._body)}"

    def add(self, operation: Any) -> tuple[Any, list[int]]:
        """A node of an operation with inputs that fit by their types, and the types of its outputs."""
        attributes = {attribute.name: self._attribute(attribute) for attribute in operation.attr}
        inputs = [name for argument in operation.input_arg for name in self._inputs(argument, attributes)]
        node = self._body.add(name=self._name(), op=operation.name)
        node.input.extend(inputs)
        for name, value in attributes.items():
            node.attr[name].CopyFrom(value)
        kinds = [kind for argument in operation.output_arg for kind in _kinds(argument, attributes)]
        return node, kinds

    def _attribute(self, attribute: Any) -> Any:
        from tensorflow.core.framework import attr_value_pb2

        value = attr_value_pb2.AttrValue()
        allowed = list(attribute.allowed_values.list.type)
        kind = attribute.type
        if kind == "type":
            value.type = self._rng.choice([one for one in allowed if one in (*_NUMBERS, _TEXT)] or allowed or [*_NUMBERS, _TEXT])
        elif kind == "list(type)":
            value.list.type.extend([self._rng.choice((*_NUMBERS, _TEXT))] * max(1, attribute.minimum))
        elif attribute.HasField("default_value") and (kind not in ("string", "list(string)") or self._rng.random() < 0.5):
            value.CopyFrom(attribute.default_value)
        elif kind == "string":
            words = [word.decode() for word in attribute.allowed_values.list.s]
            value.s = self._rng.choice(words or self._paths).encode()
        elif kind == "list(string)":
            value.list.s.append(self._rng.choice(self._paths).encode())
        elif kind == "int":
            value.i = max(1, attribute.minimum)
        elif kind == "func":
            value.func.name = self._rng.choice(self._functions or ["none"])
        elif kind == "list(func)":
            value.list.func.add().name = self._rng.choice(self._functions or ["none"])
        else:
            self._plain(kind, value)
        return value

    def _plain(self, kind: str, value: Any) -> None:
        if kind == "float":
            value.f = 1.0
        elif kind == "bool":
            value.b = True
        elif kind == "shape":
            value.shape.SetInParent()
        elif kind == "list(int)":
            value.list.i.append(1)
        elif kind == "list(shape)":
            value.list.shape.add()
        else:
            value.list.SetInParent()

    def _inputs(self, argument: Any, attributes: dict[str, Any]) -> list[str]:
        return [self._constant(kind) for kind in _kinds(argument, attributes)]

    def _constant(self, kind: int) -> str:
        if kind == _RESOURCE:
            node, output = self._body.add(name=self._name(), op="HashTableV2"), "table_handle"
            node.attr["key_dtype"].type, node.attr["value_dtype"].type = 9, _TEXT
            node.attr["shared_name"].s = b"put"
        elif kind == _VARIANT:
            node, output = self._body.add(name=self._name(), op="TensorMapPlaceholder"), "empty_map"
            node.op = "EmptyTensorMap"
        else:
            node, output = self._body.add(name=self._name(), op="Const"), "output"
            self._fill(node, kind % 100 or 1)
        return f"{node.name}:{output}:0" if self._is_function else f"{node.name}:0"

    def _fill(self, node: Any, kind: int) -> None:
        tensor = node.attr["value"].tensor
        node.attr["dtype"].type = tensor.dtype = kind
        tensor.tensor_shape.SetInParent()
        if self._rng.random() > _SCALAR:
            tensor.tensor_shape.dim.add().size = 1
        if kind == _TEXT:
            tensor.string_val.append(self._rng.choice(self._paths).encode())
        else:
            tensor.tensor_content = b""
            holders = {1: tensor.float_val, 3: tensor.int_val, 9: tensor.int64_val, 10: tensor.bool_val}
            if kind in holders:
                holders[kind].append(self._rng.choice((0, 1)))


def _kinds(argument: Any, attributes: dict[str, Any]) -> list[int]:
    """The types of an argument of an operation, given its node's attributes."""
    if argument.type_list_attr:
        return list(attributes[argument.type_list_attr].list.type)
    kind = attributes[argument.type_attr].type if argument.type_attr else argument.type
    return [kind] * (attributes[argument.number_attr].i if argument.number_attr else 1)
