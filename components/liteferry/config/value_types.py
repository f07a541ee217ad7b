"""The types the job file's records are made of: strict values, resolved paths, frozen mappings of JSON."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeVar

import pydantic
from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, Strict, WithJsonSchema


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed: it pickles, compares, prints as JSON and copies as a dict does."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a job is frozen; make a changed copy with model_copy(update={...})")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


def is_uri(path: str) -> bool:
    """Whether `path` starts with a scheme, as in gs://bucket/key; such paths are never joined to a folder."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def _resolve(path: str, info: pydantic.ValidationInfo) -> str:
    """Joins a relative path to the folder of the job file. Records made without a file keep the path they were given."""
    base_dir = (info.context or {}).get("base_dir")
    return path if base_dir is None else _join(base_dir, path)


def _local_path(path: str) -> str:
    if is_uri(path):
        raise ValueError("is no path of this machine; copy it to one, processes that load models have no network")
    return path


def _resolve_pattern(pattern: str, info: pydantic.ValidationInfo) -> str:
    """The same for a glob; brackets in the name of the job file's folder are escaped."""
    base_dir = (info.context or {}).get("base_dir")
    return pattern if base_dir is None else _join(glob.escape(base_dir), pattern)


def _join(base_dir: str, path: str) -> str:
    joined = path if is_uri(path) else os.path.join(base_dir, os.path.expanduser(path))
    if is_uri(path):
        return path
    scheme, separator, rest = joined.rpartition("://")
    return f"{scheme}{separator}{os.path.normpath(rest)}"


def _resolve_module(module: str, info: pydantic.ValidationInfo) -> str:
    if module.endswith(".py") or "/" in module or os.sep in module:
        return _resolve(module, info)
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("is neither a module name nor a file; write package.module or path/to/file.py")
    return module


def _code_reference(reference: str) -> str:
    module, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError("does not look like module:callable; write for example my_models:build")
    return reference


def _freeze_json(value: Any, where: str = "") -> Any:
    """A JSON value with its lists as tuples and its mappings frozen. ValueError for anything that JSON cannot hold."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"has the key {key!r}{where}, which is not text; write it in quotes")
        return FrozenDict({key: _freeze_json(item, f"{where} under {key}") for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_freeze_json(item, where) for item in value)
    if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"holds {value!r}{where}, which JSON cannot hold; write text, a finite number, true, false or null")


def _freeze_json_object(value: Any) -> FrozenDict:
    if not isinstance(value, Mapping):
        raise ValueError("is not a mapping; write `key: value` lines under it")
    frozen: FrozenDict = _freeze_json(value)
    return frozen


def _columns(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    raise ValueError("is neither a column nor a list of columns; write one name as text, or [a, b, c] for columns to stack")


def _scalar(value: Any) -> str | int | float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(value, str) or is_number:
        return value  # type: ignore[no-any-return]
    raise ValueError("is neither text nor a finite number; write the one value that stands in")


_T = TypeVar("_T")
Text = Annotated[str, Strict(), Field(min_length=1)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
PositiveNumber = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Strict(), Field(gt=0)]
Location = Annotated[Text, AfterValidator(_resolve_pattern)]
FilePath = Annotated[Text, AfterValidator(_resolve)]
LocalPath = Annotated[Text, AfterValidator(_local_path), AfterValidator(_resolve)]
ModuleReference = Annotated[Text, AfterValidator(_resolve_module)]
CodeReference = Annotated[Text, AfterValidator(_code_reference)]
Columns = Annotated[
    str | tuple[str, ...],
    PlainValidator(_columns),
    PlainSerializer(lambda said: said if isinstance(said, str) else list(said), return_type=Any),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
Scalar = Annotated[str | int | float, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "number"]})]
FrozenMapping = Annotated[Mapping[Text, _T], AfterValidator(FrozenDict)]
JsonObject = Annotated[Mapping[str, Any], PlainValidator(_freeze_json_object), WithJsonSchema({"type": "object"})]


class Record(pydantic.BaseModel):
    """A part of the job file: frozen, without unknown keys; a key is one annotated line and the docstring under it, which
    `key_docs` takes for the schema.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
