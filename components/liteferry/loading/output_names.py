"""Names for a model's outputs, whatever their structure: one unique name per output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def named_outputs(outputs: Any, output_names: Sequence[str]) -> dict[str, Any]:
    """Outputs of any structure -> outputs by name: a dict's own keys, else the model's `output_names`, else output_0, output_1,
    ...

    Nested structures are named by their path, as in `head/boxes` or `head/0`; None is not an output. The components of a ragged
    or sparse tensor are outputs, for example `words/values` and `words/row_splits`.
    """
    flat = [(path or "output_0", value) for path, value in _leaves(outputs, "")]
    names = [path for path, _ in flat]
    if not isinstance(outputs, Mapping) and len(output_names) == len(flat):
        names = list(output_names)
    return dict(zip(unique(names), (value for _, value in flat), strict=True))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if node is None:
        return
    children = _children(node)
    if children is None:
        yield path, node
        return
    for key, child in children:
        below = str(key) if isinstance(key, str) or path else f"output_{key}"
        yield from _leaves(child, f"{path}/{below}" if path else below)


def _children(node: Any) -> list[tuple[Any, Any]] | None:
    """The items of a structure by key, field name or position; None for a leaf."""
    if isinstance(node, Mapping):
        return [(str(key), value) for key, value in node.items()]
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return list(zip(node._fields, node, strict=True))
    if isinstance(node, list | tuple):
        return list(enumerate(node))
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return [(field.name, getattr(node, field.name)) for field in dataclasses.fields(node)]
    return _components(node)


def _components(node: Any) -> list[tuple[str, Any]] | None:
    """The tensors of a composite tensor; None for any other value."""
    import tensorflow as tf

    if isinstance(node, tf.RaggedTensor):
        splits = node.nested_row_splits
        names = ["row_splits"] if len(splits) == 1 else [f"row_splits_{axis}" for axis in range(1, len(splits) + 1)]
        return [("values", node.flat_values), *zip(names, splits, strict=True)]
    if isinstance(node, tf.SparseTensor):
        return [(name, getattr(node, name)) for name in ("indices", "values", "dense_shape")]
    return None


def unique(names: Sequence[str]) -> list[str]:
    """Equal names (one layer called twice) get a counting suffix, as tf_keras gives; never an existing name."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, count = name, 0
        while candidate in taken or (count and candidate in names):
            count += 1
            candidate = f"{name}_{count}"
        taken.add(candidate)
        result.append(candidate)
    return result
