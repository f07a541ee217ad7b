"""Named arrays in one file, passed between processes without loss: a .npz that needs no pickle.

NumPy alone turns bfloat16 and its relatives into void, and drops NULs at the end of bytes of a fixed width. Such arrays are
stored as parts that NumPy can hold, and a header says how to put them together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_HEADER = "header"
_KINDS = "biufcSUmM"  # kinds that NumPy stores unchanged, where the dtype is NumPy's own
_NOT_NUMPYS = 2  # `isbuiltin` of a dtype that a library registered; float8_e5m2 of ml_dtypes has the kind "f"

Array = np.ndarray[Any, Any]
Recipe = dict[str, Any]


def write(path: str, arrays: Mapping[str, Array]) -> None:
    """Writes arrays of numbers (those of ml_dtypes as well), of text or bytes, and object arrays of such arrays.

    Raises:
      TypeError: an array holds other Python objects.
    """
    parts: list[Array] = []
    header = [[name, _take_apart(np.asarray(array), parts)] for name, array in arrays.items()]
    named = {f"part_{number}": part for number, part in enumerate(parts)}
    named[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **named)  # type: ignore[arg-type]


def read(path: str) -> dict[str, Array]:
    """Reads the arrays of `write`: the same names in the same order, dtypes, shapes and elements."""
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file[_HEADER].tobytes())
        return {name: _put_together(recipe, lambda number: file[f"part_{number}"]) for name, recipe in header}


def _take_apart(array: Array, parts: list[Array]) -> Recipe:
    """The header that says how to put an array together again; appends its parts to `parts`."""
    if array.dtype.kind in _KINDS and array.dtype.isbuiltin != _NOT_NUMPYS:
        return {"part": _add(array, parts)}
    if array.dtype.hasobject:
        elements = list(array.ravel())
        if elements and all(isinstance(element, np.ndarray) for element in elements):
            return {"shape": array.shape, "arrays": [_take_apart(element, parts) for element in elements]}
        return {"shape": array.shape, **_take_text_apart(elements, parts)}
    # A dtype of ml_dtypes: NumPy knows its size alone.
    raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return {"shape": array.shape, "dtype": array.dtype.name, "part": _add(raw, parts)}


def _take_text_apart(elements: list[Any], parts: list[Array]) -> Recipe:
    encoded = [_encoded(element) for element in elements]
    return {
        "text": _add(np.frombuffer(b"".join(encoded), np.uint8), parts),
        "lengths": _add(np.array([len(one) for one in encoded], np.int64), parts),
        "is_str": _add(np.array([isinstance(element, str) for element in elements], np.bool_), parts),
    }


def _encoded(element: Any) -> bytes:
    if isinstance(element, bytes):
        return bytes(element)
    if isinstance(element, str):
        return element.encode("utf-8", "surrogatepass")
    raise TypeError(f"an array of objects holds {type(element).__name__}; only text, bytes and arrays are stored")


def _add(part: Array, parts: list[Array]) -> int:
    parts.append(part)
    return len(parts) - 1


def _put_together(recipe: Recipe, part: Callable[[int], Array]) -> Array:
    shape = tuple(recipe.get("shape", ()))
    if "arrays" in recipe:
        return _of_objects([_put_together(one, part) for one in recipe["arrays"]], shape)
    if "text" in recipe:
        content, ends = part(recipe["text"]).tobytes(), np.cumsum(part(recipe["lengths"]))
        starts = [0, *ends.tolist()]
        pieces = [content[start:end] for start, end in zip(starts, ends.tolist(), strict=False)]
        is_str = part(recipe["is_str"]).tolist()
        found = [piece.decode("utf-8", "surrogatepass") if text else piece for piece, text in zip(pieces, is_str, strict=True)]
        return _of_objects(found, shape)
    if "dtype" in recipe:
        return part(recipe["part"]).view(_dtype(recipe["dtype"])).reshape(shape)
    return part(recipe["part"])


def _of_objects(elements: list[Any], shape: tuple[int, ...]) -> Array:
    """An object array, filled element by element: NumPy would merge arrays of one shape into one, and
    drop NULs in fixed widths.
    """
    flat = np.empty(len(elements), object)
    for place, element in enumerate(elements):
        flat[place] = element
    return flat.reshape(shape)


def _dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return found
