"""Graphs made by hand with one operation planted somewhere, for `test_graph_scan`, which runs this in a sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PLANTED = "ReadFile"


def scan_planted(request: None, reporter: Any) -> None:
    """Hands over {place, found}: the operations that the scan finds in each graph of `PLACES` and `TABLES`."""
    from liteferry.checkpoints import graph_scan

    for name, plant in {**PLACES, **TABLES}.items():
        saved_model = _saved_model()
        plant(saved_model.meta_graphs[0])
        found = graph_scan.findings(saved_model, provided=lambda operation: operation == "TheirsAlone")
        reporter.result({"place": name, "found": [finding.what.split()[3] for finding in found]})


def _saved_model() -> Any:
    """One graph with a signature that ends in the node `out`, and a saver."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    meta = saved_model.meta_graphs.add()
    _node(meta.graph_def, "x", "Placeholder")
    _node(meta.graph_def, "out", "Identity", "x")
    meta.signature_def["serving_default"].inputs["x"].name = "x:0"
    meta.signature_def["serving_default"].outputs["y"].name = "out:0"
    _node(meta.graph_def, "saver_filename", "Placeholder")
    _node(meta.graph_def, "save", "SaveV2", "saver_filename")
    restored = _node(meta.graph_def, "restored", "RestoreV2", "saver_filename")
    _node(meta.graph_def, "restore_all", "NoOp", f"^{restored.name}")
    meta.saver_def.filename_tensor_name = "saver_filename:0"
    meta.saver_def.save_tensor_name, meta.saver_def.restore_op_name = "save:0", "restore_all"
    return saved_model


def _node(holder: Any, name: str, operation: str, *inputs: str) -> Any:
    node = (holder.node if hasattr(holder, "node") else holder.node_def).add()
    node.name, node.op = name, operation
    node.input.extend(inputs)
    return node


def _function(meta: Any, name: str = "f", *arguments: str) -> Any:
    function = meta.graph_def.library.function.add()
    function.signature.name = name
    for argument in arguments:
        function.signature.input_arg.add().name = argument
    return function


def _served(meta: Any) -> Any:
    """A node that the signature's output depends on."""
    out = next(node for node in meta.graph_def.node if node.name == "out")
    out.input.append("^called")
    return _node(meta.graph_def, "called", "PartitionedCall")


def _in_the_graph(meta: Any) -> None:
    _served(meta).op = PLANTED


def _in_a_function(meta: Any) -> None:
    _served(meta).attr["f"].func.name = "f"
    _node(_function(meta), "n", PLANTED)


def _in_a_function_of_a_function(meta: Any) -> None:
    _served(meta).attr["f"].func.name = "f"
    _node(_function(meta), "n", "While").attr["body"].func.name = "g"
    _node(_function(meta, "g"), "n", PLANTED)


def _in_a_list(meta: Any) -> None:
    _served(meta).attr["branches"].list.func.add().name = "f"
    _node(_function(meta), "n", PLANTED)


def _by_its_name_in_a_text(meta: Any) -> None:
    _served(meta).attr["anything"].s = b"f"
    _node(_function(meta), "n", PLANTED)


def _inside_a_functions_attribute(meta: Any) -> None:
    _served(meta).attr["f"].func.name = "g"
    meta.graph_def.node[-1].attr["f"].func.attr["inner"].func.name = "f"
    _node(_function(meta, "g"), "n", "NoOp")
    _node(_function(meta), "n", PLANTED)


def _called_as_an_operation(meta: Any) -> None:
    _served(meta).op = "f"
    _node(_function(meta), "n", PLANTED)


def _as_a_gradient(meta: Any) -> None:
    _served(meta).attr["f"].func.name = "g"
    _node(_function(meta, "g"), "n", "NoOp")
    _node(_function(meta), "n", PLANTED)
    gradient = meta.graph_def.library.gradient.add()
    gradient.function_name, gradient.gradient_func = "g", "f"


def _instead_of_another_function(meta: Any) -> None:
    """TensorFlow runs a function for another one that implements the same, for another device."""
    _served(meta).attr["f"].func.name = "g"
    for name, device in (("g", b"GPU"), ("f", b"CPU")):
        function = _function(meta, name)
        function.attr["api_implements"].s, function.attr["api_preferred_device"].s = b"same", device
    _node(meta.graph_def.library.function[-2], "n", "NoOp")
    _node(meta.graph_def.library.function[-1], "n", PLANTED)


def _in_the_object_graph(meta: Any) -> None:
    meta.object_graph_def.concrete_functions["f"].SetInParent()
    _node(_function(meta), "n", PLANTED)


def _while_it_is_loaded(meta: Any) -> None:
    _node(meta.graph_def, "init", PLANTED)
    meta.collection_def["saved_model_main_op"].node_list.value.append("init")


def _in_a_table_initializer(meta: Any) -> None:
    _node(meta.graph_def, "init", PLANTED)
    meta.collection_def["table_initializer"].node_list.value.append("init")


def _as_an_initializer_by_signature(meta: Any) -> None:
    _node(meta.graph_def, "init", PLANTED)
    meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "init"


def _as_a_variables_value(meta: Any) -> None:
    from tensorflow.core.framework import variable_pb2

    _node(meta.graph_def, "value", PLANTED)
    variable = variable_pb2.VariableDef(variable_name="v:0", initial_value_name="value:0")
    meta.collection_def["variables"].bytes_list.value.append(variable.SerializeToString())


def _while_it_is_restored(meta: Any) -> None:
    restore = next(node for node in meta.graph_def.node if node.name == "restore_all")
    restore.input.append("^also")
    _node(meta.graph_def, "also", PLANTED)


def _restored_from_elsewhere(meta: Any) -> None:
    _node(meta.graph_def, "path", "Const")
    next(node for node in meta.graph_def.node if node.name == "restored").input[0] = "path"


def _alone_in_the_graph(meta: Any) -> None:
    """TensorFlow evaluates it when it imports the graph, if a shape depends on it."""
    _node(meta.graph_def, "path", "Const")
    _node(meta.graph_def, "alone", PLANTED, "path")


def _alone_in_a_function(meta: Any) -> None:
    function = _function(meta)
    _node(function, "path", "Const")
    _node(function, "n", PLANTED, "path:output:0")


def _of_nobody(meta: Any) -> None:
    """Nothing evaluates what has state, or depends on an argument or on what has."""
    _node(meta.graph_def, "alone", "WriteFile")
    _node(meta.graph_def, "fed", PLANTED, "x")
    _node(meta.graph_def, "queue", "FIFOQueueV2")
    _node(meta.graph_def, "dequeued", "QueueDequeueV2", "queue")
    _node(meta.graph_def, "read", PLANTED, "dequeued")
    _node(_function(meta, "f", "argument"), "n", PLANTED, "argument")


def _restored_by_an_initializer(meta: Any) -> None:
    """An initializer is not fed the path of the variables: it reads what the file says."""
    _node(meta.graph_def, "init", "NoOp", "^restored")
    meta.collection_def["saved_model_main_op"].node_list.value.append("init")


def _restored_when_served(meta: Any) -> None:
    next(node for node in meta.graph_def.node if node.name == "out").input.append("^restored")


def _of_the_users(meta: Any) -> None:
    _served(meta).op = "TheirsAlone"


PLACES: dict[str, Callable[[Any], None]] = {
    "in the graph": _in_the_graph,
    "in a function": _in_a_function,
    "in a function of a function": _in_a_function_of_a_function,
    "in a list of functions": _in_a_list,
    "by its name in a text": _by_its_name_in_a_text,
    "inside a function's attribute": _inside_a_functions_attribute,
    "called as an operation": _called_as_an_operation,
    "as a gradient": _as_a_gradient,
    "instead of another function": _instead_of_another_function,
    "in the object graph": _in_the_object_graph,
    "while it is loaded": _while_it_is_loaded,
    "in a table's initializer": _in_a_table_initializer,
    "as an initializer by signature": _as_an_initializer_by_signature,
    "as a variable's value": _as_a_variables_value,
    "while it is restored": _while_it_is_restored,
    "alone in the graph": _alone_in_the_graph,
    "alone in a function": _alone_in_a_function,
}


def _table(meta: Any, filename: str, *, served: bool = False) -> None:
    """A table over the file of a node, filled when the graph is loaded, or by a signature."""
    _node(meta.graph_def, "table", "HashTableV2")
    _node(meta.graph_def, "fill", "InitializeTableFromTextFileV2", "table", filename)
    if served:
        next(node for node in meta.graph_def.node if node.name == "out").input.append("^fill")
    else:
        meta.collection_def["table_initializer"].node_list.value.append("fill")


def _asset(meta: Any) -> None:
    _node(meta.graph_def, "asset", "Const")
    asset = meta.asset_file_def.add()
    asset.tensor_info.name, asset.filename = "asset:0", "words.txt"


def _over_its_asset(meta: Any) -> None:
    _asset(meta)
    _table(meta, "asset")


def _over_a_path(meta: Any) -> None:
    _asset(meta)
    _node(meta.graph_def, "path", "Const")
    _table(meta, "path")


def _over_its_asset_when_served(meta: Any) -> None:
    _asset(meta)
    _table(meta, "asset", served=True)


def _over_another_output(meta: Any) -> None:
    """Of a node with two outputs one is fed."""
    _asset(meta)
    meta.asset_file_def[0].tensor_info.name = "asset:1"
    _table(meta, "asset")


def _over_its_asset_while_it_is_restored(meta: Any) -> None:
    """Restoring is not fed the paths of the assets."""
    _asset(meta)
    _table(meta, "asset")
    next(node for node in meta.graph_def.node if node.name == "restore_all").input.append("^fill")


def _over_an_input(meta: Any) -> None:
    _asset(meta)
    _table(meta, "x")


def _over_a_variable_of_its_asset(meta: Any) -> None:
    _asset(meta)
    _node(meta.graph_def, "v", "VarHandleOp").attr["shared_name"].s = b"v"
    _node(meta.graph_def, "assign", "AssignVariableOp", "v", "asset")
    _node(meta.graph_def, "read", "ReadVariableOp", "v")
    _table(meta, "read")


def _over_a_variable_of_two_files(meta: Any) -> None:
    _over_a_variable_of_its_asset(meta)
    _node(meta.graph_def, "path", "Const")
    _node(meta.graph_def, "again", "AssignVariableOp", "v", "path")


def _over_a_variable_that_a_caller_may_name(meta: Any) -> None:
    _over_a_variable_of_its_asset(meta)
    handle = _node(_function(meta), "h", "VarHandleOp")
    handle.attr["shared_name"].placeholder = "N"


def _printed(meta: Any, **stream: Any) -> None:
    _served(meta).attr["f"].func.name = "f"
    printed = _node(_function(meta), "n", "PrintV2")
    for kind, value in stream.items():
        setattr(printed.attr["output_stream"], kind, value)


def _printed_to_the_log(meta: Any) -> None:
    _printed(meta, s=b"log(info)")


def _printed_where_a_caller_says(meta: Any) -> None:
    _printed(meta, placeholder="O")


TABLES: dict[str, Callable[[Any], None]] = {
    "a table over its asset": _over_its_asset,
    "a table over a path": _over_a_path,
    "a table over its asset when served": _over_its_asset_when_served,
    "a table over another output of its asset's node": _over_another_output,
    "a table over its asset while it is restored": _over_its_asset_while_it_is_restored,
    "a table over an input": _over_an_input,
    "a table over a variable of its asset": _over_a_variable_of_its_asset,
    "a table over a variable of two files": _over_a_variable_of_two_files,
    "a table over a variable that a caller may name": _over_a_variable_that_a_caller_may_name,
    "printed": _printed,
    "printed to the log": _printed_to_the_log,
    "printed where a caller says": _printed_where_a_caller_says,
    "restored from elsewhere": _restored_from_elsewhere,
    "restored by an initializer": _restored_by_an_initializer,
    "restored when served": _restored_when_served,
    "reached by nobody": _of_nobody,
    "an operation of the user's": _of_the_users,
}
