"""Job file text -> mapping: YAML 1.2 core schema or JSON, with every repeated key reported.

PyYAML implements YAML 1.1, which reads `1e-5` as text, `off` as false, `2024-01-01` as a date and `1:30` as 90. Editors, JSON and
people do not, so the loader here has the YAML 1.2 scalars instead.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from liteferry import storage
from liteferry.errors import JobError, StorageError

_EMPTY = "the file: is empty; a job needs at least `models:`"
_MOST_VALUES = 200_000
_MOST_YAML_CHARS = 2**20  # its parser needs ten seconds for that
_INT_TAG = "tag:yaml.org,2002:int"
_CORE_SCALARS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_INT_TAG, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)


class _JobLoader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""


def _construct_int(loader: _JobLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


_JobLoader.yaml_implicit_resolvers = {}  # its own, so that SafeLoader keeps those of YAML 1.1
for _tag, _pattern, _first in _CORE_SCALARS:
    _JobLoader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})$"), list(_first))
_JobLoader.add_constructor(_INT_TAG, _construct_int)


def read_job_file(path: str) -> tuple[Any, list[str]]:
    """(mapping, a problem for each repeated key) of a job file: JSON if it is named .json, YAML otherwise.

    JobError for a file that is missing, unreadable, empty, not text, not a mapping, or not YAML or JSON (with line and column).
    RecursionError for text nested deeper than the parser goes.
    """
    text = _read_text(path)
    is_json = path.lower().endswith(".json")
    if not is_json and len(text) > _MOST_YAML_CHARS:
        problem = f"has {len(text):,} characters, and YAML is read at most {_MOST_YAML_CHARS:,} long"
        raise JobError([f"the file: {problem}; name checkpoints by patterns, or write it as .json"], source=path)
    if not text.strip():
        raise JobError([_EMPTY], source=path)
    raw, problems = _parse_json(text, path) if is_json else _parse_yaml(text, path)
    if raw is None:
        raise JobError([_EMPTY], source=path)
    if not isinstance(raw, dict):
        kind = "a list" if isinstance(raw, list) else f"a single value ({str(raw)[:40]!r})"
        raise JobError(
            [f"the file: is {kind} at top level; a job is a mapping that starts with keys such as `models:`"], source=path
        )
    return raw, problems


def _read_text(path: str) -> str:
    try:
        if storage.is_remote(path):
            return storage.read_bytes(path).decode("utf-8-sig")
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except StorageError as error:
        problem = f"cannot be read: {error}"
    except FileNotFoundError:
        problem = "does not exist; check the path"
    except IsADirectoryError:
        problem = "is a folder; name the job file inside it"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.object[error.start]:#04x} at offset {error.start}); save it as UTF-8"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    raise JobError([f"the file: {problem}"], source=path)


def _parse_yaml(text: str, path: str) -> tuple[Any, list[str]]:
    try:
        loader = _JobLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, []
        problems: list[str] = []
        _find_repeats(node, "", (), problems, itertools.count())
        return loader.construct_document(node), problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise JobError([f"{where}: cannot be read as YAML: {what}"], source=path) from None
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001  # a character YAML forbids; a tag with words behind it that its constructor chokes on
        what = " ".join(str(error).split()) or type(error).__name__
        raise JobError([f"the file: cannot be read as YAML: {what}"], source=path) from None


def safe_yaml(text: str | bytes) -> Any:
    """The document of a YAML text as PyYAML's safe loader reads it. Raises ValueError for anything that is not one document."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _find_repeats(node, "", (), [], itertools.count())
        return loader.construct_document(node)
    except Exception as error:  # PyYAML's own constructors raise anything for tags with the wrong words behind them
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _find_repeats(node: yaml.Node, path: str, above: tuple[yaml.Node, ...], problems: list[str], visits: Iterator[int]) -> None:
    """Walks the syntax tree, where repeated keys are still there; loading would silently keep the last.

    Raises for an alias inside itself, and for aliases of aliases, a few lines of which can expand to millions of values.
    """
    if next(visits) > _MOST_VALUES:
        what = f"with its aliases the file stands for more than {_MOST_VALUES:,} values"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    if node in above:
        raise yaml.constructor.ConstructorError(None, None, "an alias stands inside the value it refers to", node.start_mark)
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _find_repeats(item, f"{path}[{index}]", above, problems, visits)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # construction refuses it with its line number
            key_path = f"{path}.{key.value}" if path else key.value
            line = key.start_mark.line + 1
            if key.value in lines:
                problems.append(f"{key_path}: is there twice, in lines {lines[key.value]} and {line}; keep one")
            lines.setdefault(key.value, line)
            _find_repeats(value, key_path, above, problems, visits)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object in which repeated keys are kept."""


def _parse_json(text: str, path: str) -> tuple[Any, list[str]]:
    try:
        raw = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise JobError([f"line {error.lineno}, column {error.colno}: cannot be read as JSON: {error.msg}"], source=path) from None
    except ValueError as error:  # an integer with thousands of digits
        raise JobError([f"the file: cannot be read as JSON: {error}"], source=path) from None
    problems: list[str] = []
    return _as_dicts(raw, "", problems), problems


def _as_dicts(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, _Pairs):
        mapping: dict[str, Any] = {}
        for key, item in value:
            key_path = f"{path}.{key}" if path else key
            if key in mapping:
                problems.append(f"{key_path}: is there twice; keep one")
            mapping[key] = _as_dicts(item, key_path, problems)
        return mapping
    if isinstance(value, list):
        return [_as_dicts(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    return value
