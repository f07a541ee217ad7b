"""A SavedModel looked over before TensorFlow loads it: what its graph does besides computing, and where its assets point."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from liteferry.checkpoints.config_trust import FILE_OPS, Finding
from liteferry.checkpoints.graph_ops import PYTHON_OPERATIONS, reaches_outside
from liteferry.checkpoints.h5_files import unsafe
from liteferry.checkpoints.links import LinkRule, follow_part
from liteferry.errors import ModelError, ReasonCode, Stage

_MAX_GRAPH_BYTES = 2**31  # protobuf's own limit
_INIT_OPERATIONS = ("saved_model_main_op", "legacy_init_op")


def read(directory: str, *, shown: str | None = None) -> Any:
    """The parsed `saved_model.pb` of a folder, which errors call `shown`.

    Raises:
      ModelError: LOAD_CORRUPT when it is none.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    place = os.path.join(directory, "saved_model.pb")
    path = os.path.join(shown or directory, "saved_model.pb")
    size = os.path.getsize(place)
    if size >= _MAX_GRAPH_BYTES:
        raise unsafe(path, f"it has {size:,} bytes, and a graph has at most {_MAX_GRAPH_BYTES:,}")
    saved_model = saved_model_pb2.SavedModel()
    try:
        with open(place, "rb") as file:
            saved_model.ParseFromString(file.read())
    except Exception as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{path} ({size:,} bytes): not a whole SavedModel ({error}); copy or save it again",
        ) from error
    if not saved_model.meta_graphs:
        raise ModelError(ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path} ({size:,} bytes): holds no graph; copy or save it again")
    return saved_model


def refuse_links(path: str, directory: str, saved_model: Any, rule: LinkRule) -> None:
    """Raises LOAD_UNSAFE for links and assets that lead out of a SavedModel.

    Args:
      path: as the job names it, for errors.
      directory: where it lies, without links.
      saved_model: its parsed `saved_model.pb`.
      rule: where links may lead.
    """
    for folder, folders, names in os.walk(directory):
        for name in (*folders, *names):
            place = os.path.join(folder, name)
            if os.path.islink(place):
                follow_part(path, directory, os.path.relpath(place, directory), rule)
    for name in asset_names(saved_model):
        if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
            raise unsafe(path, f"its asset {name!r} points outside")


def asset_names(saved_model: Any) -> list[str]:
    """The files below `assets` that its graphs name."""
    return sorted({asset.filename for meta_graph in saved_model.meta_graphs for asset in _assets(meta_graph)})


def _assets(meta_graph: Any) -> Iterator[Any]:
    """As TensorFlow's loader finds them: TensorFlow 1 lists them in a collection."""
    from tensorflow.core.protobuf import meta_graph_pb2

    yield from meta_graph.asset_file_def
    if "saved_model_assets" in meta_graph.collection_def:
        for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            yield asset


def findings(saved_model: Any) -> list[Finding]:
    """The operations that reach outside the graph, among those that loading or serving it would run.

    The saver's own operations are run by no signature and no initializer, so they do not count; others of the same name do.
    """
    found: dict[Finding, None] = {}
    for meta_graph in saved_model.meta_graphs:
        for node in _nodes_that_run(meta_graph):
            if reaches_outside(node.op) or _prints_to_a_file(node):
                kind = "Python code, which is not in the file" if node.op in PYTHON_OPERATIONS else "files or other machines"
                found[Finding(what=f"its graph runs {node.op} ({node.name}): {kind}", opened_by=FILE_OPS)] = None
    return list(found)


def _prints_to_a_file(node: Any) -> bool:
    return bool(node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:"))


def _nodes_that_run(meta_graph: Any) -> Iterator[Any]:
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    graph = meta_graph.graph_def.node
    yield from _reached(list(_ancestors(graph, _roots(meta_graph))), functions, meta_graph.object_graph_def.concrete_functions)
    # A model of TensorFlow 1 is restored by its own graph, which may do that and nothing else.
    restore = {_node_name(meta_graph.saver_def.restore_op_name)} if meta_graph.saver_def.restore_op_name else set()
    for node in _reached(list(_ancestors(graph, restore)), functions, ()):
        if node.op not in ("RestoreV2", "Restore", "RestoreSlice"):
            yield node


def _reached(nodes: list[Any], functions: Mapping[str, Any], called: Iterable[str]) -> Iterator[Any]:
    """`nodes`, and those of every function that they or `called` call."""
    yield from nodes
    pending = [*called, *_called_by(nodes)]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        body = functions[name].node_def
        yield from body
        pending.extend(_called_by(body))


def _roots(meta_graph: Any) -> set[str]:
    """The nodes of the main graph that signatures end in, and those that run when it is loaded."""
    roots: set[str] = set()
    for signature in meta_graph.signature_def.values():
        for tensor in (*signature.outputs.values(), *signature.inputs.values()):
            parts = [tensor.name] if tensor.name else []
            parts += [tensor.coo_sparse.values_tensor_name, tensor.coo_sparse.indices_tensor_name]
            parts += [component.name for component in tensor.composite_tensor.components]
            roots.update(_node_name(part) for part in parts if part)
    for key in _INIT_OPERATIONS:
        roots.update(_node_name(name) for name in meta_graph.collection_def[key].node_list.value)
    return roots


def _node_name(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _ancestors(nodes: Iterable[Any], roots: Collection[str]) -> Iterator[Any]:
    by_name = {node.name: node for node in nodes}
    pending, seen = list(roots), set(roots)
    while pending:
        node = by_name.get(pending.pop())
        if node is None:
            continue
        yield node
        for name in map(_node_name, node.input):
            if name not in seen:
                seen.add(name)
                pending.append(name)


def _called_by(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        yield node.op  # a call of TensorFlow 1 is an operation of the function's name
        for attribute in node.attr.values():
            if attribute.func.name:
                yield attribute.func.name
            yield from (function.name for function in attribute.list.func)
