"""Scans a SavedModel before TensorFlow loads it: operations that do more than compute, and the files its assets name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from liteferry.checkpoints.config_trust import FILE_OPS, Finding
from liteferry.checkpoints.graph_ops import RESTORING, TABLES_FROM_FILES, is_harmless, told
from liteferry.checkpoints.graph_reach import Graph, Place, asset_files
from liteferry.checkpoints.h5_files import unsafe
from liteferry.checkpoints.links import LinkRule, follow_part
from liteferry.errors import ModelError, ReasonCode, Stage

_MAX_GRAPH_BYTES = 2**31  # protobuf's own limit
_FILE_INPUT = {"InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1}


def read(directory: str, *, shown: str | None = None) -> Any:
    """The parsed `saved_model.pb` of a folder; errors name the folder `shown`.

    Raises:
      ModelError: LOAD_CORRUPT when it is not one, LOAD_UNSAFE when there is a second graph file, which TensorFlow would load
        instead.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    place = os.path.join(directory, "saved_model.pb")
    path = os.path.join(shown or directory, "saved_model.pb")
    if os.path.lexists(os.path.join(directory, "saved_model.cpb")):
        raise unsafe(shown or directory, "it holds its graph twice, as saved_model.pb and as saved_model.cpb")
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
    return sorted({asset.filename for meta_graph in saved_model.meta_graphs for asset in asset_files(meta_graph)})


def findings(saved_model: Any, *, provided: Callable[[str], bool] = lambda _: False) -> list[Finding]:
    """The operations that are not known to only compute, among those that may run when any of the graphs is loaded or served.

    Operations also read a SavedModel's own variables and vocabularies. Those count as findings only when they are given another
    file.

    Args:
      saved_model: the parsed `saved_model.pb`.
      provided: whether the user's code has registered an operation; such an operation is trusted with the code.
    """
    found: dict[Finding, None] = {}
    for meta_graph in saved_model.meta_graphs:
        graph = Graph(meta_graph)
        for place in (*_not_its_own_files(graph, provided), *_suspects(graph, graph.when_imported(), provided)):
            what = f"its graph runs {place.node.op} ({place.node.name}): {told(place.node.op)}"
            found[Finding(what=what, opened_by=FILE_OPS)] = None
    return list(found)


def _suspects(graph: Graph, places: Iterable[Place], provided: Callable[[str], bool]) -> Iterator[Place]:
    for place in places:
        operation = place.node.op
        if not (is_harmless(operation, place.node.attr) or graph.is_call(operation) or provided(operation)):
            yield place


def _not_its_own_files(graph: Graph, provided: Callable[[str], bool]) -> Iterator[Place]:
    """The nodes that may run and are on no list, except those that read the graph's own vocabularies and variables."""
    without_assets = without_checkpoint = None
    for place in _suspects(graph, graph.that_run(), provided):
        key = (place.function, place.node.name)
        if place.node.op in TABLES_FROM_FILES:
            without_assets = graph.without_assets() if without_assets is None else without_assets
            if key not in without_assets and graph.comes_from(place, _FILE_INPUT[place.node.op], graph.assets):
                continue
        if place.node.op in RESTORING:
            without_checkpoint = graph.without_checkpoint() if without_checkpoint is None else without_checkpoint
            if key not in without_checkpoint and graph.comes_from(place, 0, graph.checkpoint):
                continue
        yield place


def function_names(saved_model: Any) -> set[str]:
    """The functions in the libraries of its graphs."""
    return {function.signature.name for graph in saved_model.meta_graphs for function in graph.graph_def.library.function}


def refuse_shadowing(path: str, saved_model: Any) -> None:
    """Raises LOAD_UNSAFE for functions that have the name of a registered operation: this scan reads a node of that name as a
    call, but parts of TensorFlow may run the operation. Imports TensorFlow.
    """
    from tensorflow.python.framework import op_def_registry

    shadowing = sorted(name for name in function_names(saved_model) if op_def_registry.get(name) is not None)
    if shadowing:
        raise unsafe(path, f"it has functions under the names of operations ({', '.join(shadowing[:8])})")


def operations(saved_model: Any) -> set[str]:
    """The names of all operations in a SavedModel that are not on the list of operations that only compute."""
    graphs = [meta_graph.graph_def for meta_graph in saved_model.meta_graphs]
    bodies = [graph.node for graph in graphs] + [function.node_def for graph in graphs for function in graph.library.function]
    return {node.op for body in bodies for node in body if not is_harmless(node.op, node.attr)} - function_names(saved_model)
