"""Facts of a SavedModel directory, from its protobuf and the index of its variables."""

from __future__ import annotations

import collections
import os
from collections.abc import Mapping
from typing import Any

from liteferry.checkpoints import graph_scan
from liteferry.checkpoints.links import LinkRule
from liteferry.commands.inspect import bundle_index, stored_arrays

_INITIALIZER = "__saved_model_init_op"


def describe(directory: str) -> dict[str, Any]:
    """Facts of a SavedModel: one entry per graph, and the operations and files that reach outside it.

    Raises:
      ModelError: LOAD_CORRUPT, and LOAD_UNSAFE for links out of the directory.
    """
    saved_model = graph_scan.read(directory)
    graph_scan.refuse_links(directory, directory, saved_model, LinkRule())
    graphs = [_graph(meta_graph) for meta_graph in saved_model.meta_graphs]
    index = os.path.join(directory, "variables", "variables.index")
    arrays = bundle_index.arrays(index) if os.path.isfile(index) else []
    return {
        "tensorflow_version": saved_model.meta_graphs[0].meta_info_def.tensorflow_version or None,
        "graphs": graphs,
        "findings": [{"what": found.what, "opened_by": found.opened_by} for found in graph_scan.findings(saved_model)],
        "weights": stored_arrays.summary([array for array in arrays if not stored_arrays.is_bookkeeping(array.name)]),
    }


def signatures(saved_model: Any) -> dict[str, Any]:
    """The signatures of the serving graph: name -> {inputs, outputs}."""
    serving = [meta for meta in saved_model.meta_graphs if "train" not in meta.meta_info_def.tags] or list(
        saved_model.meta_graphs
    )
    found: dict[str, Any] = _graph(serving[0])["signatures"] if serving else {}
    return found


def _graph(meta_graph: Any) -> dict[str, Any]:
    operations: collections.Counter[str] = collections.Counter(node.op for node in meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        operations.update(node.op for node in function.node_def)
    return {
        "tags": sorted(meta_graph.meta_info_def.tags),
        "signatures": {
            name: {"inputs": _tensors(signature.inputs), "outputs": _tensors(signature.outputs)}
            for name, signature in sorted(meta_graph.signature_def.items())
            if name != _INITIALIZER
        },
        "operations": sum(operations.values()),
        "assets": sorted(asset.filename for asset in meta_graph.asset_file_def),
    }


def _tensors(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "shape": _shape(tensor), "dtype": _dtype(tensor.dtype)} for name, tensor in sorted(tensors.items())]


def _shape(tensor: Any) -> list[int | None] | None:
    if tensor.tensor_shape.unknown_rank:
        return None
    return [None if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim]


def _dtype(number: int) -> str:
    return bundle_index.dtype_name(number)
