"""HDF5 files looked over before a library reads them: nothing outside the file, nothing that claims to be larger than it can be.

Sources: CVE-2025-9905 (legacy H5), HDF5's external links, external storage and virtual datasets, each of which names other files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from liteferry import allocation
from liteferry.errors import ModelError, ReasonCode, Stage

# HDF5's filters reach ratios of about a thousand on zeros; weights reach two. A dataset never written takes no bytes at all.
_MAX_RATIO = 1100
_SMALL_BYTES = 2**28
_MAX_OBJECTS = 1_000_000
_MEMORY_PER_BYTE = 8  # of the file, for what has lengths of its own: its bytes, HDF5's buffers, Python's text


def unsafe(path: str, what: str) -> ModelError:
    """LOAD_UNSAFE for something that no trust setting opens."""
    return ModelError(
        ReasonCode.LOAD_UNSAFE,
        Stage.LOAD,
        f"{path}: {what}; nothing of it was loaded. Save the model again from a source you trust",
    )


def refuse_unsafe(path: str, file: Any, *, stored_bytes: int) -> None:
    """Raises unless an open HDF5 file keeps to itself.

    Args:
      path: how the file is named in errors.
      file: an open `h5py.File`.
      stored_bytes: the size of the file.

    Raises:
      ModelError: LOAD_UNSAFE for links and data that lie in other files, for sizes that cannot be, and for endless files.
      OSError: for what takes more memory than a file of this size can be worth: HDF5 allocates what damaged bytes say, for
        links and texts alike, before it looks whether the file has so much.
    """
    try:
        with allocation.at_most(_SMALL_BYTES + _MEMORY_PER_BYTE * stored_bytes):
            _look_over(path, file, stored_bytes)
    except MemoryError as error:
        raise OSError("looking over it takes more memory than a file of this size can be worth") from error


def _look_over(path: str, file: Any, stored_bytes: int) -> None:
    from h5py import h5d

    claimed = 0
    _try_attributes("/", file.id)
    for name, item in _items(path, file):
        if isinstance(item, str):
            raise unsafe(path, f"{name} is a link to another file ({item})")
        _try_attributes(name, item)
        if not isinstance(item, h5d.DatasetID):
            continue
        how = item.get_create_plist()
        if how.get_external_count():
            raise unsafe(path, f"the data of {name} lies in another file ({_text(how.get_external(0)[0])})")
        if how.get_layout() == h5d.VIRTUAL:
            raise unsafe(path, f"{name} is a virtual dataset, whose data lies in other files")
        claimed += math.prod(item.shape or ()) * item.get_type().get_size()
        if claimed > _SMALL_BYTES and claimed > _MAX_RATIO * stored_bytes:
            raise unsafe(path, f"{name} brings its arrays to {claimed:,} bytes, in a file of {stored_bytes:,}")
        _try_lengths(name, item)


def _try_attributes(name: str, item: Any) -> None:
    from h5py import h5a

    for number in range(h5a.get_num_attrs(item)):
        attribute = h5a.open(item, index=number)
        _try_lengths(f"the attribute {_text(attribute.name)} of {name}", attribute)


def _try_lengths(name: str, stored: Any) -> None:
    """Reads what has lengths of its own, texts above all. OSError for what is damaged, or claims more memory than it may."""
    import numpy as np
    from h5py import h5a, h5s

    if not _has_own_lengths(stored.get_type()):
        return
    try:
        values = np.empty(stored.shape or (), stored.dtype)
        stored.read(values) if isinstance(stored, h5a.AttrID) else stored.read(h5s.ALL, h5s.ALL, values)
    except TypeError:
        return  # a type that h5py has no values for; no loader of ours reads it
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        raise OSError(f"{name} cannot be read: {error or type(error).__name__}") from error


def _has_own_lengths(kind: Any) -> bool:
    from h5py import h5t

    if isinstance(kind, h5t.TypeStringID):
        return bool(kind.is_variable_str())
    is_made_of_others = isinstance(kind, (h5t.TypeCompoundID, h5t.TypeArrayID))
    return kind.detect_class(h5t.VLEN) or (is_made_of_others and kind.detect_class(h5t.STRING))


def _items(path: str, file: Any) -> Iterator[tuple[str, Any]]:
    """Every external link, as the name of its file, and every object once, as h5py's identifier of it: its objects take ten times
    as long to make. Iterative, and by address: groups may hold each other.
    """
    from h5py import h5g, h5l, h5o

    pending = [("", file.id)]
    seen: set[int] = set()
    while pending:
        prefix, group = pending.pop()
        for key in group:
            name = f"{prefix}/{_text(key)}"
            kind = group.links.get_info(key).type
            if kind == h5l.TYPE_EXTERNAL:
                yield name, _text(group.links.get_val(key)[0])
            if kind != h5l.TYPE_HARD:
                continue  # a soft link is to a place in this file, which is looked at where it is
            item = h5o.open(group, key)
            address = h5o.get_info(item).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise unsafe(path, f"it holds more than {_MAX_OBJECTS:,} objects")
            yield name, item
            if isinstance(item, h5g.GroupID):
                pending.append((name, item))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
