"""The descriptions of the job file's keys for its JSON Schema: the docstring under each key of a record.

pydantic can take them, too, but at every start, when nobody asks for the schema: it parses the source of each record.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from collections.abc import Iterator
from typing import Any

from liteferry.config.value_types import Record


def describe(schema: dict[str, Any], root: type[Record]) -> None:
    """Adds the descriptions to the properties of a schema that pydantic made for `root`."""
    for record in _records(Record):
        inside = schema if record is root else schema.get("$defs", {}).get(record.__name__, {})
        documented = _docstrings(record)
        for name, property_ in inside.get("properties", {}).items():
            if name in documented and "description" not in property_:
                property_["description"] = documented[name]


def _records(record: type[Record]) -> Iterator[type[Record]]:
    for derived in record.__subclasses__():
        yield derived
        yield from _records(derived)


def _docstrings(record: type[Record]) -> dict[str, str]:
    """Key -> the text under it."""
    tree = ast.parse(inspect.getsource(sys.modules[record.__module__]))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == record.__name__)
    found = {}
    for key, below in itertools.pairwise(body):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
        if is_text and isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
            found[key.target.id] = inspect.cleandoc(below.value.value)  # type: ignore[attr-defined]
    return found
