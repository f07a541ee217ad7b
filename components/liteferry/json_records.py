"""Dataclass records from JSON that another process wrote: types are checked, never trusted."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

T = TypeVar("T")


@functools.cache
def _adapter(record: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(record)


def decode(record: type[T], plain: Any) -> T:
    """The record that `dataclasses.asdict` made `plain` of. Raises pydantic.ValidationError where the types do not fit."""
    decoded: T = _adapter(record).validate_python(plain)  # type: ignore[arg-type]
    return decoded
